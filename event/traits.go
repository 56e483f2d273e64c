package event

// What a byte of a text can be part of. A text none of whose bytes has a trait needs no look for what
// begins with it, and nearly every text in an event is like that.
const (
	escaped   uint8 = 1 << iota // JSON needs an escape, or it is not ASCII
	separator                   // = or :, after a name
	blank                       // between a scheme and its credentials
	digit
	percent // percent-encoding
	capital // J, in the eyJ of a token
	atSign  // @, after user information
	dash    // in the frame of PEM
)

// traits is a constant table.
var traits = makeTraits()

func makeTraits() (t [256]uint8) {
	for c := range t {
		if c < ' ' || c == '"' || c == '\\' || c >= 0x80 {
			t[c] |= escaped
		}
	}
	for c := '0'; c <= '9'; c++ {
		t[c] |= digit
	}
	for chars, trait := range map[string]uint8{"=:": separator, " \t": blank, "%+": percent, "J": capital, "@": atSign, "-": dash} {
		for i := range len(chars) {
			t[chars[i]] |= trait
		}
	}
	return t
}

// look returns the traits of all bytes of s together.
func look(s string) (seen uint8) {
	for i := range len(s) {
		seen |= traits[s[i]]
	}
	return seen
}
