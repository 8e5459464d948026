package testutil

import (
	"encoding/json"
	"math"
	"os"
	"testing"

	"github.com/graft-ml/graft/internal/graph"
)

func TestFormula(t *testing.T) {
	data, err := os.ReadFile("testdata/formula.json")
	if err != nil {
		t.Fatal(err)
	}
	var reference struct {
		Gain    float64
		Samples []struct {
			Name  string
			Shape []int
			At    []int
			Bits  []uint32
		}
	}
	if err := json.Unmarshal(data, &reference); err != nil {
		t.Fatal(err)
	}
	for _, s := range reference.Samples {
		p := &graph.Param{Name: s.Name, Shape: s.Shape}
		if s.Name == "input" {
			p.Data = FormulaInput(s.Shape...)
		} else {
			FormulaWeights([]*graph.Param{p}, reference.Gain)
		}
		for i, at := range s.At {
			if got, want := p.Data[at], math.Float32frombits(s.Bits[i]); got != want {
				t.Errorf("%s[%d] is %v, want %v", s.Name, at, got, want)
			}
		}
	}
}

func TestFormulaLeavesOtherBuffers(t *testing.T) {
	p := &graph.Param{Name: "relative_coords_table", Shape: []int{2}, Buffer: true, Data: []float32{1, 2}}
	FormulaWeights([]*graph.Param{p}, 1)
	if p.Data[0] != 1 || p.Data[1] != 2 {
		t.Errorf("the buffer is %v, want [1 2]", p.Data)
	}
}
