package models

import (
	"slices"
	"strings"

	"github.com/graft-ml/graft/internal/graph"
)

// A Stage is a part of a network: the path of a module, and the parameters in it.
type Stage struct {
	Path   string
	Params []*graph.Param

	after []*graph.Param // of small modules that follow
}

func (s Stage) size() (total int) {
	for _, p := range s.Params {
		if !p.Buffer {
			total += p.Numel()
		}
	}
	return total
}

// Stages divides the trunk, everything but the head, by the modules that make it up, in their order:
// the features of a torchvision network, the layers of a ResNet, the blocks of a transformer. What has
// hardly any parameters, such as a last norm, belongs to what stands before it.
func (n *Network) Stages() []Stage {
	whole := Stage{}
	for _, p := range n.Params() {
		if !strings.HasPrefix(p.Name, n.Head+".") {
			whole.Params = append(whole.Params, p)
		}
	}
	stages := merge(whole.divide(), whole.size()/100)
	for {
		// Divide the largest that can be, while there are few or it is nearly all.
		largest := -1
		for i, s := range stages {
			if len(s.divide()) > 1 && (largest < 0 || s.size() > stages[largest].size()) {
				largest = i
			}
		}
		if largest < 0 || len(stages) >= 4 && stages[largest].size() < whole.size()*3/4 {
			for i := range stages {
				stages[i].Params = append(stages[i].Params, stages[i].after...)
			}
			return stages
		}
		parts := stages[largest].divide()
		parts[len(parts)-1].after = stages[largest].after
		stages = merge(slices.Replace(stages, largest, largest+1, parts...), whole.size()/100)
	}
}

// merge adds stages of fewer than least parameters to those before them.
func merge(stages []Stage, least int) []Stage {
	for i := 1; i < len(stages); {
		if stages[i].size() >= least {
			i++
			continue
		}
		stages[i-1].after = slices.Concat(stages[i-1].after, stages[i].Params, stages[i].after)
		stages = slices.Delete(stages, i, i+1)
	}
	return stages
}

// divide groups the parameters by the modules one level further down than the one they share.
func (s Stage) divide() (parts []Stage) {
	shared := strings.Split(s.Params[0].Name, ".")
	for _, p := range s.Params {
		elements := strings.Split(p.Name, ".")
		same := 0
		for same < min(len(shared), len(elements)-1) && shared[same] == elements[same] {
			same++
		}
		shared = shared[:same]
	}
	for _, p := range s.Params {
		elements := strings.Split(p.Name, ".")
		path := strings.Join(elements[:max(min(len(shared)+1, len(elements)-1), 1)], ".")
		if last := len(parts) - 1; last < 0 || parts[last].Path != path {
			parts = append(parts, Stage{Path: path})
		}
		parts[len(parts)-1].Params = append(parts[len(parts)-1].Params, p)
	}
	return parts
}
