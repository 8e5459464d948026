package engine

import "testing"

func TestAlike(t *testing.T) {
	for n := 1; n < 4000; n++ {
		for _, most := range []int{1, 7, 24, 60, 240} {
			size := alike(n, most)
			parts := divided(n, size)
			if size < 1 || size > most && n > most || (parts-1)*size >= n || parts*size < n {
				t.Fatalf("%d is divided into %d parts of %d, where %d is the most", n, parts, size, most)
			}
			if n <= most && parts != 1 {
				t.Fatalf("%d is divided into %d parts, though %d fit", n, parts, most)
			}
		}
	}
}

// The blocks of a product hold each row once, and two threads have nearly as many each.
func TestBlocks(t *testing.T) {
	for rows := 1; rows < 1000; rows++ {
		g := &gemmStep{rows: rows}
		for _, most := range []int{12, 168, 240} {
			for _, panels := range []int{1, 2, 3, 9, 24} {
				blocks, together := g.blocks(most, panels, 12)
				next, half := 0, 0
				for i := range blocks {
					first, end := g.block(i, blocks)
					if first != next || end < first || end-first > most+24 {
						t.Fatalf("%d rows: block %d of %d, which are to have %d at most, is [%d, %d)", rows, i, blocks, most, first, end)
					}
					if next = end; i < blocks/2 {
						half = end
					}
				}
				if next != rows || together < 1 || together > 12 {
					t.Fatalf("%d rows: %d blocks end at %d, and %d panels are computed together", rows, blocks, next, together)
				}
				if blocks > 1 && (half > rows/2 || half < rows/2-12) {
					t.Fatalf("%d rows: %d blocks put %d of them into the first half", rows, blocks, half)
				}
			}
		}
	}
}
