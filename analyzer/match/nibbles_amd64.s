#include "textflag.h"

// A byte's lower half picks a table's entry; where its eighth bit is set the
// instruction gives nothing, so bytes beyond ASCII are part of no group.

// func nibbleScan(s *byte, blocks int, n *nibbles) (at int, hits uint32)
TEXT ·nibbleScan(SB), NOSPLIT, $0-36
	MOVQ    s+0(FP), SI
	MOVQ    blocks+8(FP), CX
	MOVQ    n+16(FP), DX
	VMOVDQU 0(DX), Y0
	VMOVDQU 32(DX), Y1
	VMOVDQU 64(DX), Y2
	VMOVDQU 96(DX), Y3
	VPXOR   Y15, Y15, Y15
	XORQ    AX, AX

block:
	VPSHUFB   0(SI)(AX*1), Y0, Y8
	VPSHUFB   1(SI)(AX*1), Y1, Y9
	VPSHUFB   2(SI)(AX*1), Y2, Y10
	VPSHUFB   3(SI)(AX*1), Y3, Y11
	VPAND     Y8, Y9, Y8
	VPAND     Y10, Y11, Y10
	VPAND     Y8, Y10, Y8
	VPCMPEQB  Y15, Y8, Y8
	VPMOVMSKB Y8, BX
	XORL      $0xFFFFFFFF, BX
	JNE       done
	ADDQ      $32, AX
	DECQ      CX
	JNE       block

done:
	MOVQ AX, at+24(FP)
	MOVL BX, hits+32(FP)
	VZEROUPPER
	RET
