package model

import _ "embed" // for the schema

//go:embed palisade.schema.json
var schema []byte //nolint:gochecknoglobals // go:embed needs a variable; it is never changed

// Schema returns the JSON Schema (2020-12) of palisade.yaml, for editors. It is generated from the types of this
// package and their comments; what needs more than one key to judge is checked by Load and Compile alone.
func Schema() []byte { return append([]byte(nil), schema...) }
