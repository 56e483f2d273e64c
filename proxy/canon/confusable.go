package canon

import "unicode"

// isControl reports whether c controls how text is shown or cut instead of being text: control characters,
// line and paragraph separators, bidirectional controls and the byte order mark.
func isControl(c rune) bool {
	if c < 0x80 {
		return c < ' ' || c == 0x7f
	}
	return unicode.IsControl(c) || c >= 0x2028 && c <= 0x202e || c >= 0x2066 && c <= 0x2069 || c == 0xfeff
}

// isConfusable reports whether compatibility normalisation (Unicode UAX 15, NFKC) or a best-fit conversion to
// an eight-bit character set makes one of / \ . % ? # ; of c, or a string of dots. A test derives the NFKC
// part anew from the Unicode tables. Enclosed numbers such as U+2488 "1." are left out: a dot behind a digit
// delimits nothing.
func isConfusable(c rune) bool {
	switch c {
	case 0xff0f, 0x2044, 0x2215, 0x29f8: // solidus: fullwidth, fraction, division, big
	case 0x2100, 0x2101, 0x2105, 0x2106: // a/c, a/s, c/o, c/u
	case 0xff3c, 0xfe68, 0x2216, 0x29f5, 0x29f9: // reverse solidus: fullwidth, small, set minus, operator, big
	case 0xff0e, 0xfe52, 0x2024, 0x2025, 0xfe30, 0x2026, 0xfe19: // full stop, and leaders of one to three
	case 0xff05, 0xfe6a: // percent
	case 0xff1f, 0xfe56, 0xfe16, 0x2047, 0x2048, 0x2049: // question mark, also doubled
	case 0xff03, 0xfe5f: // number sign
	case 0xff1b, 0xfe54, 0xfe14, 0x037e: // semicolon, Greek question mark
	default:
		return false
	}
	return true
}
