package policy

import (
	"maps"
	"slices"
)

// suggest returns a hint with the declared name nearest to name.
func suggest[V any](name string, declared map[string]V) string {
	return suggestFrom(name, slices.Sorted(maps.Keys(declared)))
}

func suggestFrom(name string, declared []string) string {
	best, distance := "", len(name)/3+2
	for _, d := range declared {
		if n := editDistance(name, d, distance); n < distance {
			best, distance = d, n
		}
	}
	if best == "" {
		return ""
	}
	return "did you mean " + quote(best) + "?"
}

// editDistance is the Levenshtein distance in bytes, or bound if it is not below that.
func editDistance(a, b string, bound int) int {
	if max(len(a)-len(b), len(b)-len(a)) >= bound {
		return bound
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			diagonal, row[j+1] = row[j+1], min(row[j+1]+1, row[j]+1, diagonal+cost)
		}
	}
	return row[len(b)]
}
