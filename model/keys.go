package model

import (
	"reflect"
	"strconv"
	"strings"
)

// fieldsOf returns the fields of a struct type by key.
func fieldsOf(t reflect.Type) map[string]reflect.StructField {
	fields := make(map[string]reflect.StructField, t.NumField())
	for f := range t.Fields() {
		if name, _ := keyOf(f); name != "" {
			fields[name] = f
		}
	}
	return fields
}

// keyNames returns the keys of a struct type in the order of its fields.
func keyNames(t reflect.Type) []string {
	var names []string
	for f := range t.Fields() {
		if name, _ := keyOf(f); name != "" {
			names = append(names, name)
		}
	}
	return names
}

func sampleKeys(t reflect.Type) string { return strings.Join(keyNames(t), ", ") }

// notation says how a type with a notation of its own is written.
func notation(t reflect.Type) string {
	switch t {
	case reflect.TypeFor[Duration]():
		return "a duration such as 250ms, 5s or 1h30m"
	case reflect.TypeFor[Size]():
		return "a size such as 512B, 32KiB or 1MiB"
	case reflect.TypeFor[Rate]():
		return "a rate such as 100/1m or 5/s"
	default:
		return "an address range such as 10.0.0.0/8"
	}
}

// join appends a key to a key path. A name that would be mistaken for more path is quoted.
func join(path, key string) string {
	if strings.ContainsAny(key, ".[]\" \t\n") || key == "" {
		return path + "[" + strings.ReplaceAll(quote(key), "\n", `\n`) + "]"
	}
	if path == "" {
		return key
	}
	return path + "." + key
}

// index appends a position in a list to a key path.
func index(path string, i int) string { return path + "[" + strconv.Itoa(i) + "]" }

// didYouMean names the nearest of the known words, or says nothing when none is near.
func didYouMean(word string, known []string) string {
	best, least := "", 1+max(1, len(word)/3)
	for _, candidate := range known {
		if d := distance(strings.ToLower(word), strings.ToLower(candidate)); d < least {
			best, least = candidate, d
		}
	}
	if best == "" {
		return ""
	}
	return "did you mean " + quote(best) + "?"
}

// distance counts the letters to insert, delete, replace or swap with a neighbour to get from a to b (optimal
// string alignment). Words longer than any key are all far apart.
func distance(a, b string) int {
	const longest = 64
	if len(a) > longest || len(b) > longest {
		return longest
	}
	before, last, row := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			row[j] = min(last[j]+1, row[j-1]+1, last[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, last, row = last, row, before
	}
	return last[len(b)]
}
