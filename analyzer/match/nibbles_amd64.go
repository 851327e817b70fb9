package match

import "golang.org/x/sys/cpu"

// hasNibbles says that the processor has the instructions of nibbleScan.
var hasNibbles = cpu.X86.HasAVX2

// nibbleScan looks at blocks of 32 places from s on, of which there must be one at
// least; three bytes behind the last must be there, too. It returns where the
// first block begins in which a group may stand, with a bit for each such place,
// or no bits.
//
//go:noescape
func nibbleScan(s *byte, blocks int, n *nibbles) (at int, hits uint32)
