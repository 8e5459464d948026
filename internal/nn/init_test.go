package nn_test

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"math"
	"os"
	"slices"
	"testing"

	"github.com/graft-ml/graft/internal/models"
	"github.com/graft-ml/graft/internal/nn"
	"github.com/graft-ml/graft/internal/torchrand"
)

// TestTinyVGG starts from the same bits as PyTorch (testdata/init.py).
func TestTinyVGG(t *testing.T) {
	data, err := os.ReadFile("testdata/init.json")
	if err != nil {
		t.Fatal(err)
	}
	var seeds []struct {
		Seed       uint64
		Parameters []struct {
			Name   string
			First  []float32
			SHA256 string
		}
		Next float64
	}
	if err := json.Unmarshal(data, &seeds); err != nil {
		t.Fatal(err)
	}
	for _, s := range seeds {
		network, err := models.New("tinyvgg", 3)
		if err != nil {
			t.Fatal(err)
		}
		random := torchrand.New(s.Seed)
		network.Initialise(random)
		params := network.Params()
		if len(params) != len(s.Parameters) {
			t.Fatalf("%d parameters, want %d", len(params), len(s.Parameters))
		}
		for i, want := range s.Parameters {
			got := params[i]
			raw, err := binary.Append(nil, binary.LittleEndian, got.Data)
			if err != nil {
				t.Fatal(err)
			}
			if sum := sha256.Sum256(raw); got.Name != want.Name || hex.EncodeToString(sum[:]) != want.SHA256 {
				t.Errorf("seed %d: %s starts with %v, want %s with %v", s.Seed, got.Name, got.Data[:3], want.Name, want.First)
			}
		}
		if next := random.Uniform(); float32(next) != float32(s.Next) {
			t.Errorf("seed %d: the next number is %v, want %v", s.Seed, next, s.Next)
		}
	}
}

// TestInitialise gives values to those parameters alone that have none yet.
func TestInitialise(t *testing.T) {
	m := nn.Sequential(nn.Linear(2, 2, true), nn.BatchNorm2d(2, 1e-5, 0.1))
	loaded := []float32{1, 2, 3, 4}
	params := m.Params()
	params[0].Data = loaded
	index := nn.New("Table", nn.Chain).AddIndex("index", []int{1, 0}, 2).AddParam("zeros", nil, 2)
	m.Append(index)
	m.Initialise(torchrand.New(1))
	if &params[0].Data[0] != &loaded[0] || !slices.Equal(loaded, []float32{1, 2, 3, 4}) {
		t.Error("loaded values were changed")
	}
	for i, want := range map[int][]float32{2: {1, 1}, 3: {0, 0}, 4: {0, 0}, 5: {1, 1}, 6: {0}} {
		if !slices.Equal(params[i].Data, want) {
			t.Errorf("%s starts from %v, want %v", params[i].Name, params[i].Data, want)
		}
	}
	if own := index.Own(); own[0].Data != nil || !slices.Equal(own[1].Data, []float32{0, 0}) {
		t.Errorf("the table starts from %v and %v", own[0].Data, own[1].Data)
	}
}

func TestDistributions(t *testing.T) {
	for name, test := range map[string]struct {
		init       nn.Init
		bound, std float64
	}{
		"normal":  {nn.Normal(0.02), math.Inf(1), 0.02},
		"uniform": {nn.Uniform(0.3), 0.3, 0.3 / math.Sqrt(3)},
		"xavier":  {nn.XavierUniform(10, 14), 0.5, 0.5 / math.Sqrt(3)},
	} {
		data := make([]float32, 20000)
		test.init(data, torchrand.New(1).Uniform)
		var sum, squares, most float64
		for _, v := range data {
			sum += float64(v)
			squares += float64(v) * float64(v)
			most = max(most, math.Abs(float64(v)))
		}
		mean, std := sum/20000, math.Sqrt(squares/20000)
		if math.Abs(mean) > 0.03*test.std || math.Abs(std/test.std-1) > 0.02 || most > test.bound || most < 1.7*test.std {
			t.Errorf("%s: mean %.4f, deviation %.4f (want %.4f), at most %.4f", name, mean, std, test.std, most)
		}
	}
}
