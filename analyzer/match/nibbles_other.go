//go:build !amd64

package match

// hasNibbles: other processors look for groups one by one.
const hasNibbles = false

func nibbleScan(*byte, int, *nibbles) (at int, hits uint32) {
	panic("match: nibbleScan is not for this processor")
}
