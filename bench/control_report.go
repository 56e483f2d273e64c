package main

import "encoding/json"

func controlTables(r *ControlResults) string {
	d, _ := json.MarshalIndent(r, "", " ")
	return string(d)
}
func controlChart(r *ControlResults) string { return "" }
