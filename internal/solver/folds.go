package solver

import "slices"

// folds divides samples into so many folds, each with nearly the same share of each class, and returns
// the fold of each sample. Samples of one group are in the same fold, and of a class those that stand
// together are in it: photos taken in a row don't tell much of each other's classes. Where no groups are
// given they are those of scikit-learn's StratifiedKFold.
func folds(labels, groups []int, n int) []int {
	first := map[int]int{} // sample of each group
	var order []int        // of these, by class
	for i := range labels {
		g := i
		if groups != nil {
			g = groups[i]
		}
		if _, ok := first[g]; !ok {
			first[g] = i
			order = append(order, i)
		}
	}
	slices.SortStableFunc(order, func(a, b int) int { return labels[a] - labels[b] })
	fold := make([]int, len(labels))
	for from := 0; from < len(order); {
		to := from
		for to < len(order) && labels[order[to]] == labels[order[from]] {
			to++
		}
		// Fold f takes as many as there are positions with the remainder f.
		i := from
		for f := range n {
			for p := from; p < to; p++ {
				if p%n == f {
					fold[order[i]] = f
					i++
				}
			}
		}
		from = to
	}
	for i, g := range groups {
		fold[i] = fold[first[g]]
	}
	return fold
}
