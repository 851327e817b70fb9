package match

import "golang.org/x/sys/cpu"

// hasNibbles says that the processor has the instructions of nibbleScan.
var hasNibbles = cpu.X86.HasAVX2

// nibbleScan looks at so many places from s on, which must be 32 at least; three
// bytes behind the last must be there, too. It returns where the first 32 begin
// among which a group may stand, with a bit for each such place, or no bits.
//
//go:noescape
func nibbleScan(s *byte, places int, n *nibbles) (at int, hits uint32)
