package engine

import (
	"slices"

	"github.com/graft-ml/graft/internal/graph"
	"github.com/graft-ml/graft/internal/kernels"
)

// A Batch computes a few images on one thread: the front of the network for one after the other, so
// that an image stays in the core's cache, and the back, where images have become small and weights
// large, for all together, so that weights are read once. The results are the bits of a [Plan].
type Batch struct {
	size        int
	front, back *Plan // back is nil if nothing is gained by it
}

// NewBatch compiles a network for batches of size images. trace gives its graph for a number of
// images, and outputs the nodes to compute, the same ones for each graph.
func NewBatch(trace func(images int) (*graph.Graph, error), set *kernels.Set, size int, outputs func(*graph.Graph) []*graph.Node) (*Batch, error) {
	return Options{Kernels: set}.NewBatch(trace, size, outputs)
}

// NewBatch is the function of that name, for any precision.
func (o Options) NewBatch(trace func(images int) (*graph.Graph, error), size int, outputs func(*graph.Graph) []*graph.Node) (*Batch, error) {
	one, err := trace(1)
	if err != nil {
		return nil, err
	}
	one, wanted := trimmed(one, outputs(one))
	c, err := o.newCompiler(one, values{nodes: one.Inputs}, values{nodes: wanted})
	if err != nil {
		return nil, err
	}
	if err := c.lower(); err != nil {
		return nil, err
	}
	b := &Batch{size: size}
	cut := c.cut(size)
	if cut == nil {
		c.plan.place()
		b.front = &c.plan
		return b, nil
	}
	between := values{nodes: []*graph.Node{cut}, bf16: c.values[cut].bf16}
	if b.front, err = o.compile(one, values{nodes: one.Inputs}, between); err != nil {
		return nil, err
	}
	many, err := trace(size)
	if err != nil {
		return nil, err
	}
	many, wanted = trimmed(many, outputs(many))
	between.nodes = []*graph.Node{many.Nodes[cut.ID]}
	b.back, err = o.compile(many, between, values{nodes: wanted})
	return b, err
}

// cut returns the node whose value is all that the back needs of the front, where dividing the
// network saves most memory traffic, or nearly; nil if it saves none.
func (c *compiler) cut(size int) *graph.Node {
	const cached = 512 << 10 // bytes of an image that stay in a core's cache
	p := &c.plan
	traffic := func(s step, images int) int {
		bytes := s.weights / images
		if image := 4 * p.buffers[s.write].size; image*images > cached {
			bytes += image
		}
		return bytes
	}
	last := make([]int, len(p.buffers)) // the step that reads a buffer last
	for i, s := range p.steps {
		for _, r := range s.reads {
			last[r] = i
		}
	}
	for _, out := range p.outputs {
		last[out] = len(p.steps)
	}
	nodes := map[int]*graph.Node{} // whose value a buffer holds as it lies
	for _, n := range c.graph.Nodes {
		v, ok := c.values[n]
		if _, summed := c.sums[n]; ok && !summed && v.ld == 0 && nodes[v.buffer] == nil && sameOrder(v.shape, v.order, usual(len(v.shape))) {
			nodes[v.buffer] = n
		}
	}
	type place struct {
		node *graph.Node
		gain int
	}
	var places []place
	saved, most := 0, 0
	alive := map[int]bool{}
	for _, s := range p.steps {
		saved += traffic(s, 1) - traffic(s, size)
	}
	for i, s := range p.steps {
		saved -= traffic(s, 1) - traffic(s, size) // it belongs to the front
		for _, w := range append(s.also[:len(s.also):len(s.also)], s.write) {
			alive[w] = true
		}
		for b := range alive {
			if last[b] <= i {
				delete(alive, b)
			}
		}
		if len(alive) != 1 || !alive[s.write] || i+1 == len(p.steps) || last[p.inputs[0]] > i {
			continue
		}
		// At the cut each image's value is copied to the others'.
		if n, gain := nodes[s.write], saved-2*4*p.buffers[s.write].size; n != nil && gain > 0 {
			places = append(places, place{n, gain})
			most = max(most, gain)
		}
	}
	// Of places that save about the same the last one is best: the memory of one image is small.
	for _, at := range slices.Backward(places) {
		if at.gain >= most-most/32 {
			return at.node
		}
	}
	return nil
}

// A BatchState is the memory of one batch at a time.
type BatchState struct {
	batch       *Batch
	front, back *State
	kept        [][][]float32 // without a back: the outputs of each image
	images      int
}

// NewState allocates a BatchState.
func (b *Batch) NewState() *BatchState {
	s := &BatchState{batch: b, front: b.front.NewState(1)}
	if b.back != nil {
		s.back = b.back.NewState(1)
	}
	return s
}

// Size returns how many images a batch holds.
func (b *Batch) Size() int { return b.size }

// Input returns the memory for the next image, as [State.Input] does.
func (s *BatchState) Input() []float32 { return s.front.Input(0) }

// Add takes the image in Input into the batch, which must have room. After Run a new batch begins.
func (s *BatchState) Add() {
	s.front.Run()
	if s.back != nil {
		x := s.front.Output(0)
		copy(s.back.Input(0)[s.images*len(x):], x)
	} else {
		s.kept = s.kept[:s.images]
		outputs := make([][]float32, s.batch.front.Outputs())
		for i := range outputs {
			outputs[i] = append(outputs[i], s.front.Output(i)...)
		}
		s.kept = append(s.kept, outputs)
	}
	s.images++
}

// Run computes the outputs of the images that were added.
func (s *BatchState) Run() {
	if s.back != nil {
		s.back.Run()
	}
	s.images = 0
}

// Output returns an output of an image of the last Run, which the next batch overwrites.
func (s *BatchState) Output(output, image int) []float32 {
	if s.back == nil {
		return s.kept[image][output]
	}
	n := s.batch.back.OutputLen(output) / s.batch.size
	return s.back.Output(output)[image*n : (image+1)*n]
}
