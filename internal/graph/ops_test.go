package graph

import (
	"errors"
	"slices"
	"testing"
)

func TestAttentionInfer(t *testing.T) {
	q, k, v := []int{8, 5, 12}, []int{8, 7, 12}, []int{8, 7, 6}
	for _, test := range []struct {
		bias []int
		ok   bool
	}{
		{nil, true},
		{[]int{1, 3, 5, 7}, true},
		{[]int{4, 3, 5, 7}, true},
		{[]int{8, 3, 5, 7}, true},
		{[]int{3, 3, 5, 7}, false}, // 3 doesn't divide 8
		{[]int{1, 1, 5, 7}, false},
		{[]int{1, 3, 7, 5}, false},
		{[]int{3, 5, 7}, false},
	} {
		in := [][]int{q, k, v}
		if test.bias != nil {
			in = append(in, test.bias)
		}
		got, err := Attention{Heads: 3, Scale: 1}.Infer(in, nil)
		if (err == nil) != test.ok || test.ok && !slices.Equal(got, []int{8, 5, 6}) {
			t.Errorf("with a bias of shape %v: %v, %v", test.bias, got, err)
		}
	}
	if _, err := (Attention{Heads: 5}).Infer([][]int{q, k, v}, nil); err == nil {
		t.Error("12 features fall into 5 heads")
	}
}

func TestGatherInfer(t *testing.T) {
	index := &Param{Shape: []int{2, 3}, Index: []int{0, 1, 2, 2, 1, 0}}
	got, err := Gather{}.Infer([][]int{{4, 5}}, []*Param{index})
	if want := []int{2, 3, 5}; err != nil || !slices.Equal(got, want) {
		t.Errorf("%v, %v, want %v", got, err, want)
	}
}

func TestReshapeInfer(t *testing.T) {
	for _, test := range []struct {
		in, shape, want []int
		small           bool
	}{
		{[]int{2, 12, 3}, []int{-1, 3, 4, 3}, []int{2, 3, 4, 3}, false},
		{[]int{2, 12, 3}, []int{-1, 5}, nil, false},
		{[]int{2, 6, 3}, []int{-1, 0, 7, 3}, nil, true},
	} {
		got, err := Reshape{test.shape}.Infer([][]int{test.in}, nil)
		if !slices.Equal(got, test.want) || (err == nil) != (test.want != nil) || errors.Is(err, ErrTooSmall) != test.small {
			t.Errorf("%v to %v: %v, %v", test.in, test.shape, got, err)
		}
	}
}
