#include "textflag.h"

// A byte's lower half picks a table's entry; where its eighth bit is set the
// instruction gives nothing, so bytes beyond ASCII are part of no group.

// NAMED leaves in out the buckets of which a group may stand at each of 32 places.
#define NAMED(offset, out, other, third) \
	VPSHUFB offset+0(SI)(AX*1), Y0, out   \
	VPSHUFB offset+1(SI)(AX*1), Y1, other \
	VPAND   out, other, out               \
	VPSHUFB offset+2(SI)(AX*1), Y2, other \
	VPSHUFB offset+3(SI)(AX*1), Y3, third \
	VPAND   other, third, other           \
	VPAND   out, other, out

// func nibbleScan(s *byte, places int, n *nibbles) (at int, hits uint32)
TEXT ·nibbleScan(SB), NOSPLIT, $0-36
	MOVQ    s+0(FP), SI
	MOVQ    places+8(FP), CX
	MOVQ    n+16(FP), DX
	VMOVDQU 0(DX), Y0
	VMOVDQU 32(DX), Y1
	VMOVDQU 64(DX), Y2
	VMOVDQU 96(DX), Y3
	VPXOR   Y15, Y15, Y15
	XORQ    AX, AX
	LEAQ    -64(CX), R8
	LEAQ    -32(CX), R9

pair:
	CMPQ   AX, R8
	JGT    last
	NAMED(0, Y8, Y9, Y10)
	NAMED(32, Y11, Y12, Y13)
	VPOR   Y8, Y11, Y14
	VPTEST Y14, Y14
	JNE    which
	ADDQ   $64, AX
	JMP    pair

which:
	VPCMPEQB  Y15, Y8, Y8
	VPMOVMSKB Y8, BX
	XORL      $0xFFFFFFFF, BX
	JNE       done
	ADDQ      $32, AX
	VMOVDQA   Y11, Y8
	JMP       bits

	// One block is left, and a part of one: that is looked at with places before it,
	// which are known to be none.
last:
	CMPQ   AX, R9
	JGT    rest
	NAMED(0, Y8, Y9, Y10)
	VPTEST Y8, Y8
	JNE    bits
	ADDQ   $32, AX

rest:
	CMPQ AX, CX
	JGE  none
	MOVQ R9, AX
	NAMED(0, Y8, Y9, Y10)

bits:
	VPCMPEQB  Y15, Y8, Y8
	VPMOVMSKB Y8, BX
	XORL      $0xFFFFFFFF, BX
	JMP       done

none:
	XORL BX, BX

done:
	MOVQ AX, at+24(FP)
	MOVL BX, hits+32(FP)
	VZEROUPPER
	RET
