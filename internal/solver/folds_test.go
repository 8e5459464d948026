package solver

import (
	"encoding/json"
	"os"
	"slices"
	"testing"
)

// TestFolds compares with scikit-learn's StratifiedKFold.
func TestFolds(t *testing.T) {
	data, err := os.ReadFile("testdata/sklearn.json")
	if err != nil {
		t.Fatal(err)
	}
	var r struct{ Uneven, Folds []int }
	if err := json.Unmarshal(data, &r); err != nil {
		t.Fatal(err)
	}
	if got := folds(r.Uneven, nil, 5); !slices.Equal(got, r.Folds) {
		t.Errorf("folds are %v, want %v", got, r.Folds)
	}
}

// TestFoldsOfGroups keeps groups together and divides classes evenly.
func TestFoldsOfGroups(t *testing.T) {
	var labels, groups []int
	for g := range 31 {
		for range g%3 + 1 {
			labels, groups = append(labels, g%2), append(groups, g/2*2+1000*(g%2))
		}
	}
	fold := folds(labels, groups, 5)
	of := map[int]int{}
	count := [2][5]int{}
	for i, g := range groups {
		if f, ok := of[g]; ok && f != fold[i] {
			t.Errorf("group %d is in folds %d and %d", g, f, fold[i])
		} else if !ok {
			of[g] = fold[i]
			count[labels[i]][fold[i]]++
		}
	}
	for class, c := range count {
		if slices.Max(c[:])-slices.Min(c[:]) > 1 {
			t.Errorf("class %d has %v groups in the folds", class, c)
		}
	}
}
