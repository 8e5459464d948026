package engine

import (
	"slices"

	"github.com/graft-ml/graft/internal/graph"
)

// trimmed returns a graph that computes the same outputs without the tokens that are dropped in the end:
// the last block of a vision transformer is needed for its class token alone. Where all that is used of a
// sequence [N, L, C] is a slice of its tokens, what computed it token by token, and attention's queries, is
// given that slice instead.
func trimmed(g *graph.Graph, outputs []*graph.Node) (*graph.Graph, []*graph.Node) {
	kept := keptTokens(g, outputs)
	if !slices.ContainsFunc(kept, func(s *graph.Slice) bool { return s != nil }) {
		return g, outputs
	}
	out := &graph.Graph{}
	add := func(n graph.Node) *graph.Node {
		n.ID = len(out.Nodes)
		out.Nodes = append(out.Nodes, &n)
		return &n
	}
	sliced := func(n *graph.Node, s graph.Slice) *graph.Node {
		return add(graph.Node{Op: s, In: []*graph.Node{n}, Path: n.Path, Shape: []int{n.Shape[0], s.To - s.From, n.Shape[2]}})
	}
	twins := make([]*graph.Node, len(g.Nodes))
	for i, n := range g.Nodes {
		if s, ok := n.Op.(graph.Slice); ok && kept[n.In[0].ID] != nil && s == *kept[n.In[0].ID] {
			twins[i] = twins[n.In[0].ID] // has those tokens alone
			continue
		}
		twin := *n
		twin.In = make([]*graph.Node, len(n.In))
		for j, in := range n.In {
			twin.In[j] = twins[in.ID]
			if s := kept[i]; s != nil && kept[in.ID] == nil && readsTokens(n, j) {
				twin.In[j] = sliced(twin.In[j], *s)
			}
		}
		if s := kept[i]; s != nil {
			twin.Shape = []int{n.Shape[0], s.To - s.From, n.Shape[2]}
		}
		twins[i] = add(twin)
	}
	for _, in := range g.Inputs {
		out.Inputs = append(out.Inputs, twins[in.ID])
	}
	var same []*graph.Node
	for _, o := range outputs {
		same = append(same, twins[o.ID])
	}
	return out, same
}

// keptTokens returns for each node the slice of its tokens that is all that is needed of it, nil if that
// is all of them.
func keptTokens(g *graph.Graph, outputs []*graph.Node) []*graph.Slice {
	type use struct {
		by *graph.Node
		as int
	}
	uses := make([][]use, len(g.Nodes))
	needed, kept := make([]bool, len(g.Nodes)), make([]*graph.Slice, len(g.Nodes))
	for _, o := range outputs {
		needed[o.ID] = true
	}
	for i, n := range slices.Backward(g.Nodes) {
		if !needed[i] {
			continue
		}
		for j, in := range n.In {
			needed[in.ID] = true
			uses[in.ID] = append(uses[in.ID], use{n, j})
		}
		if !tokenwise(n) || slices.Contains(outputs, n) {
			continue
		}
		for j, u := range uses[i] {
			s := kept[u.by.ID]
			if op, ok := u.by.Op.(graph.Slice); ok && op.Dim == 1 {
				s = &op
			} else if s != nil && !readsTokens(u.by, u.as) {
				s = nil
			}
			if s == nil || j > 0 && (kept[i] == nil || *s != *kept[i]) {
				kept[i] = nil
				break
			}
			kept[i] = s
		}
	}
	return kept
}

// tokenwise reports whether each token of a node's value [N, L, C] depends on the same token of its inputs
// that [readsTokens].
func tokenwise(n *graph.Node) bool {
	if len(n.Shape) != 3 {
		return false
	}
	switch op := n.Op.(type) {
	case graph.Linear, graph.LayerNorm, graph.Act, graph.Dropout, graph.StochasticDepth:
		return true
	case graph.Slice:
		return op.Dim == 2
	case graph.Attention:
		return len(n.In) == 3
	case graph.Add, graph.Mul:
		return !slices.ContainsFunc(n.In, func(in *graph.Node) bool {
			return len(in.Shape) > 1 && !slices.Equal(in.Shape, n.Shape)
		})
	}
	return false
}

// readsTokens reports whether a node's j-th input is a sequence that it reads token by token.
func readsTokens(n *graph.Node, j int) bool {
	_, attention := n.Op.(graph.Attention)
	return len(n.In[j].Shape) == 3 && !(attention && j > 0)
}
