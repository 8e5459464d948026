package models

import "github.com/graft-ml/graft/internal/nn"

// Attention within windows, as Swin and MaxViT have it.

// cutWindows cuts [N, H, W, C] into windows of p × p: [N, windows, p², C].
func cutWindows(x nn.Value, p int) nn.Value {
	h, w, c := x.Shape[1], x.Shape[2], x.Shape[3]
	return x.Reshape(-1, h/p, p, w/p, p, c).Permute(0, 1, 3, 2, 4, 5).Reshape(-1, (h/p)*(w/p), p*p, c)
}

// joinWindows puts windows together again, rows × columns of them.
func joinWindows(x nn.Value, rows, columns, p int) nn.Value {
	c := x.Shape[len(x.Shape)-1]
	return x.Reshape(-1, rows, columns, p, p, c).Permute(0, 1, 3, 2, 4, 5).Reshape(-1, rows*p, columns*p, c)
}

// relativePositions lists for each pair of places in a window of p × p the row of the bias table,
// of (2p-1)² rows, that belongs to the offset between them.
func relativePositions(p int) []int {
	index := make([]int, 0, p*p*p*p)
	for a := range p * p {
		for b := range p * p {
			dy, dx := a/p-b/p, a%p-b%p
			index = append(index, (dy+p-1)*(2*p-1)+dx+p-1)
		}
	}
	return index
}

// relativePositionBias lays a bias table [(2p-1)², heads] out for attention: [1, heads, p², p²].
func relativePositionBias(m *nn.Module, table nn.Value, p int) nn.Value {
	heads := table.Shape[1]
	return m.Gather("relative_position_index", table).
		Reshape(p*p, p*p, heads).Permute(2, 0, 1).Reshape(1, heads, p*p, p*p)
}
