package model

// validate returns what is wrong with a decoded model by itself, without looking at anything outside of it.
func validate(d *Declared) []Finding {
	return nil
}
