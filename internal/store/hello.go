package store

import (
	"encoding/binary"
	"strings"
)

// helloQuery is what clickhouse-go asks first on every connection. It reads the
// answer at its own newest protocol version, and from then on speaks the
// version that the answer names.
const helloQuery = "SELECT displayName(), version(), revision(), timezone()"

// revisionCustomSerialization is DBMS_MIN_REVISION_WITH_CUSTOM_SERIALIZATION:
// from it on a byte follows each column's type in a block.
const revisionCustomSerialization = 54454

// helloBlock is the answer: one row in the Native format of the client's
// protocol version. It names revision 0, so that both sides exchange plain
// FORMAT Native afterwards, which is what the engine writes.
func helloBlock(clientRevision uint64, version string) []byte {
	var b []byte
	text := func(s string) { b = append(binary.AppendUvarint(b, uint64(len(s))), s...) }
	column := func(name, typ string) {
		text(name)
		text(typ)
		if clientRevision >= revisionCustomSerialization {
			b = append(b, 0)
		}
	}
	if clientRevision > 0 {
		b = append(b, 1, 0, 2, 0xff, 0xff, 0xff, 0xff, 0) // BlockInfo: not overflowing, no bucket
	}
	b = append(b, 4, 1) // columns, rows
	column("displayName()", "String")
	text("fengsui")
	column("version()", "String")
	text(version)
	column("revision()", "UInt32")
	b = append(b, 0, 0, 0, 0)
	column("timezone()", "String")
	text("UTC")
	return b
}

func isHello(sql string) bool { return strings.TrimSpace(sql) == helloQuery }
