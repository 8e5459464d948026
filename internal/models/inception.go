package models

import (
	"fmt"

	"github.com/graft-ml/graft/internal/graph"
	"github.com/graft-ml/graft/internal/nn"
)

// Inception V3: Rethinking the Inception Architecture for Computer Vision,
// https://arxiv.org/abs/1512.00567. Module names and details are torchvision's for its pretrained
// network. The auxiliary classifier AuxLogits keeps its place and its values, but never runs: it
// serves the training of the whole network alone.

func init() {
	register("inception_v3", func(classes int) *Network {
		root := nn.New("Inception3", func(m *nn.Module, x nn.Value) nn.Value {
			x = inceptionInput(m, x)
			for name, c := range m.Children() {
				switch name {
				case "AuxLogits":
					continue
				case "fc":
					x = x.Flatten(1)
				}
				x = c.Call(x)
			}
			return x
		}).
			// Table 1.
			Add("Conv2d_1a_3x3", basicConv2d(nn.Conv{In: 3, Out: 32, Kernel: nn.Square(3), Stride: nn.Square(2)})).
			Add("Conv2d_2a_3x3", basicConv2d(nn.Conv{In: 32, Out: 32, Kernel: nn.Square(3)})).
			Add("Conv2d_2b_3x3", basicConv2d(nn.Conv{In: 32, Out: 64, Kernel: nn.Square(3), Padding: nn.Square(1)})).
			Add("maxpool1", nn.MaxPool2d(3, 2, 0, false)).
			Add("Conv2d_3b_1x1", basicConv2d(nn.Conv{In: 64, Out: 80, Kernel: nn.Square(1)})).
			Add("Conv2d_4a_3x3", basicConv2d(nn.Conv{In: 80, Out: 192, Kernel: nn.Square(3)})).
			Add("maxpool2", nn.MaxPool2d(3, 2, 0, false)).
			Add("Mixed_5b", inceptionA(192, 32)).
			Add("Mixed_5c", inceptionA(256, 64)).
			Add("Mixed_5d", inceptionA(288, 64)).
			Add("Mixed_6a", inceptionB(288)).
			Add("Mixed_6b", inceptionC(768, 128)).
			Add("Mixed_6c", inceptionC(768, 160)).
			Add("Mixed_6d", inceptionC(768, 160)).
			Add("Mixed_6e", inceptionC(768, 192)).
			Add("AuxLogits", inceptionAux(768, classes)).
			Add("Mixed_7a", inceptionD(768)).
			Add("Mixed_7b", inceptionE(1280)).
			Add("Mixed_7c", inceptionE(2048)).
			Add("avgpool", nn.AdaptiveAvgPool2dTo(nn.Square(1))).
			Add("dropout", nn.Dropout(0.5, false)).
			Add("fc", nn.Linear(2048, classes, true))
		// torchvision cuts the distribution off at ±2, twenty deviations away.
		initLayers(root, "Conv2d", normal(0.1), nil)
		initLayers(root, "Linear", normal(0.1), nil)
		initLayers(root.Child("AuxLogits"), "Linear", normal(0.001), nil)
		return &Network{Module: root, Size: 299, Head: "fc", Dropout: "dropout"}
	})
}

// A branch is a chain of convolutions, named by it and numbered where they are more than one. A
// fork ends in a 1×3 and a 3×1 convolution side by side.
type branch struct {
	name  string
	convs []nn.Conv // without In and Padding
	fork  int       // channels of each of the two; 0 for none
}

// k1, k3 and so on are convolutions with that kernel; k3s2 has stride 2.
func k1(out int) nn.Conv   { return nn.Conv{Out: out, Kernel: nn.Square(1)} }
func k3(out int) nn.Conv   { return nn.Conv{Out: out, Kernel: nn.Square(3)} }
func k5(out int) nn.Conv   { return nn.Conv{Out: out, Kernel: nn.Square(5)} }
func k1x7(out int) nn.Conv { return nn.Conv{Out: out, Kernel: nn.Pair{1, 7}} }
func k7x1(out int) nn.Conv { return nn.Conv{Out: out, Kernel: nn.Pair{7, 1}} }
func k3s2(out int) nn.Conv { return nn.Conv{Out: out, Kernel: nn.Square(3), Stride: nn.Square(2)} }

// inceptionA is the module of figure 5.
func inceptionA(in, pooled int) *nn.Module {
	return mixed("InceptionA", in,
		branch{name: "branch1x1", convs: []nn.Conv{k1(64)}},
		branch{name: "branch5x5", convs: []nn.Conv{k1(48), k5(64)}},
		branch{name: "branch3x3dbl", convs: []nn.Conv{k1(64), k3(96), k3(96)}},
		branch{name: "branch_pool", convs: []nn.Conv{k1(pooled)}})
}

// inceptionB halves the image as in figure 10.
func inceptionB(in int) *nn.Module {
	return mixed("InceptionB", in,
		branch{name: "branch3x3", convs: []nn.Conv{k3s2(384)}},
		branch{name: "branch3x3dbl", convs: []nn.Conv{k1(64), k3(96), k3s2(96)}},
		branch{name: "branch_pool"})
}

// inceptionC is the module of figure 6 with n = 7.
func inceptionC(in, c7 int) *nn.Module {
	return mixed("InceptionC", in,
		branch{name: "branch1x1", convs: []nn.Conv{k1(192)}},
		branch{name: "branch7x7", convs: []nn.Conv{k1(c7), k1x7(c7), k7x1(192)}},
		branch{name: "branch7x7dbl", convs: []nn.Conv{k1(c7), k7x1(c7), k1x7(c7), k7x1(c7), k1x7(192)}},
		branch{name: "branch_pool", convs: []nn.Conv{k1(192)}})
}

// inceptionD halves the image once more.
func inceptionD(in int) *nn.Module {
	return mixed("InceptionD", in,
		branch{name: "branch3x3", convs: []nn.Conv{k1(192), k3s2(320)}},
		branch{name: "branch7x7x3", convs: []nn.Conv{k1(192), k1x7(192), k7x1(192), k3s2(192)}},
		branch{name: "branch_pool"})
}

// inceptionE is the module of figure 7.
func inceptionE(in int) *nn.Module {
	return mixed("InceptionE", in,
		branch{name: "branch1x1", convs: []nn.Conv{k1(320)}},
		branch{name: "branch3x3", convs: []nn.Conv{k1(384)}, fork: 384},
		branch{name: "branch3x3dbl", convs: []nn.Conv{k1(448), k3(384)}, fork: 384},
		branch{name: "branch_pool", convs: []nn.Conv{k1(192)}})
}

// mixed joins the results of branches. The last begins with a 3×3 pooling: an average, or, where
// the module halves the image, the maximum.
func mixed(typ string, in int, branches ...branch) *nn.Module {
	pool := graph.Op(graph.AvgPool{Kernel: nn.Square(3), Stride: nn.Square(1), Pad: nn.Square(1), CountIncludePad: true})
	if last := branches[len(branches)-1]; last.convs == nil {
		pool = graph.MaxPool{Kernel: nn.Square(3), Stride: nn.Square(2), Dilation: nn.Square(1)}
	}
	m := nn.New(typ, func(m *nn.Module, x nn.Value) nn.Value {
		var results []nn.Value
		for i, b := range branches {
			y := x
			if i == len(branches)-1 {
				y = m.Apply(pool, x)
			}
			for j := range b.convs {
				y = m.Sub(b.child(j), y)
			}
			if b.fork > 0 {
				fork := b.child(len(b.convs))
				y = graph.Cat(1, m.Sub(fork+"a", y), m.Sub(fork+"b", y))
			}
			results = append(results, y)
		}
		return graph.Cat(1, results...)
	})
	for _, b := range branches {
		in := in
		add := func(name string, c nn.Conv) {
			c.In = in
			if c.Stride == (nn.Pair{}) {
				c.Padding = nn.Pair{c.Kernel[0] / 2, c.Kernel[1] / 2}
			}
			m.Add(name, basicConv2d(c))
		}
		for j, c := range b.convs {
			add(b.child(j), c)
			in = c.Out
		}
		if b.fork > 0 {
			fork := b.child(len(b.convs))
			add(fork+"a", nn.Conv{Out: b.fork, Kernel: nn.Pair{1, 3}})
			add(fork+"b", nn.Conv{Out: b.fork, Kernel: nn.Pair{3, 1}})
		}
	}
	return m
}

// child names the branch's convolution number i.
func (b branch) child(i int) string {
	if len(b.convs) == 1 && b.fork == 0 {
		return b.name
	}
	return fmt.Sprintf("%s_%d", b.name, i+1)
}

// inceptionAux is the auxiliary classifier of figure 8. It never runs, so it computes nothing.
func inceptionAux(in, classes int) *nn.Module {
	return nn.New("InceptionAux", nil).
		Add("conv0", basicConv2d(nn.Conv{In: in, Out: 128, Kernel: nn.Square(1)})).
		Add("conv1", basicConv2d(nn.Conv{In: 128, Out: 768, Kernel: nn.Square(5)})).
		Add("fc", nn.Linear(768, classes, true))
}
