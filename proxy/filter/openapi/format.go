package openapi

import (
	"encoding/base64"
	"math"
	"math/big"
	"net/netip"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// format is a named constraint on strings or on numbers. Names that are not known constrain nothing, as the
// specifications have it (JSON Schema 2020-12 validation, section 7.2.3).
type format struct {
	name   string
	text   func(string) bool // nil: not about strings
	number func([]byte) bool // nil: not about numbers
}

func formatOf(name string) *format {
	f := &format{name: name}
	switch name {
	case "date-time":
		f.text = isDateTime
	case "date":
		f.text = func(s string) bool { _, err := time.Parse(time.DateOnly, s); return err == nil && len(s) == 10 }
	case "time":
		f.text = func(s string) bool { return isDateTime("2000-01-01T" + s) }
	case "uuid":
		f.text = isUUID
	case "email":
		f.text = isEmail
	case "hostname":
		f.text = isHostname
	case "ipv4":
		f.text = func(s string) bool { a, err := netip.ParseAddr(s); return err == nil && a.Is4() }
	case "ipv6":
		f.text = func(s string) bool { a, err := netip.ParseAddr(s); return err == nil && a.Is6() && a.Zone() == "" }
	case "uri":
		f.text = func(s string) bool { u, err := url.Parse(s); return err == nil && u.IsAbs() && isURIText(s) }
	case "uri-reference":
		f.text = func(s string) bool { _, err := url.Parse(s); return err == nil && isURIText(s) }
	case "byte":
		f.text = isBase64
	case "int32":
		f.number = func(b []byte) bool { return isInt(b, math.MinInt32, math.MaxInt32) }
	case "int64":
		f.number = func(b []byte) bool { return isInt(b, math.MinInt64, math.MaxInt64) }
	case "float":
		f.number = func(b []byte) bool {
			v, err := strconv.ParseFloat(string(b), 64)
			return err == nil && math.Abs(v) <= math.MaxFloat32
		}
	default:
		return nil
	}
	return f
}

// isDateTime accepts RFC 3339, section 5.6, with the leap second and without lower case.
func isDateTime(s string) bool {
	// The standard library takes an hour of one digit and a comma before the fraction.
	if len(s) < 20 || len(s) > 64 || s[13] != ':' || strings.Contains(s, ",") {
		return false
	}
	if s[13:19] == ":59:60" {
		s = s[:17] + "59" + s[19:]
	}
	_, err := time.Parse(time.RFC3339, s)
	return err == nil
}

// isUUID accepts the form of RFC 9562, section 4, of any version.
func isUUID(s string) bool {
	if len(s) != 36 {
		return false
	}
	for i, c := range []byte(s) {
		if dash := i == 8 || i == 13 || i == 18 || i == 23; dash != (c == '-') || !dash && !isHex(c) {
			return false
		}
	}
	return true
}

func isHex(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'a' && c <= 'f' || c >= 'A' && c <= 'F'
}

// isEmail accepts dot-atom "@" hostname (RFC 5321, section 4.1.2, without quoted local parts and literals).
func isEmail(s string) bool {
	local, host, ok := strings.Cut(s, "@")
	if !ok || local == "" || len(local) > 64 || !isHostname(host) {
		return false
	}
	for atom := range strings.SplitSeq(local, ".") {
		if atom == "" || strings.ContainsFunc(atom, func(r rune) bool {
			return r < 0x80 && !isAlphanumeric(r) && !strings.ContainsRune("!#$%&'*+-/=?^_`{|}~", r)
		}) {
			return false
		}
	}
	return true
}

func isAlphanumeric(r rune) bool {
	return r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z'
}

// isHostname accepts RFC 1123, section 2.1.
func isHostname(s string) bool {
	if s == "" || len(s) > 253 {
		return false
	}
	for label := range strings.SplitSeq(s, ".") {
		if label == "" || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' ||
			strings.ContainsFunc(label, func(r rune) bool { return r != '-' && !isAlphanumeric(r) }) {
			return false
		}
	}
	return true
}

// isURIText reports whether s holds only characters a URI may hold (RFC 3986, section 2).
func isURIText(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r >= 0x7f || strings.ContainsRune("\"<>\\^`{|}", r) })
}

// isBase64 accepts either alphabet, padded or not (RFC 4648, sections 4 and 5).
func isBase64(s string) bool {
	s = strings.TrimRight(s, "=")
	_, std := base64.RawStdEncoding.DecodeString(s)
	_, safe := base64.RawURLEncoding.DecodeString(s)
	return (std == nil || safe == nil) && !strings.ContainsAny(s, "\r\n")
}

// isInt reports whether a number is whole and within [low, high]; one that is not whole is for the type to refuse.
func isInt(b []byte, low, high int64) bool {
	if v, err := strconv.ParseInt(string(b), 10, 64); err == nil {
		return v >= low && v <= high
	}
	f, _ := strconv.ParseFloat(string(b), 64)
	return f >= float64(low) && f < float64(high)+1 && f < math.MaxInt64
}

// isWhole reports whether a number has no fraction: 1.0 is an integer (JSON Schema 2020-12 core, section 4.2.3).
func isWhole(b []byte) bool {
	for _, c := range b {
		if c == '.' || c == 'e' || c == 'E' {
			f, _ := strconv.ParseFloat(string(b), 64)
			return f == math.Trunc(f)
		}
	}
	return true
}

// multiple is a multipleOf, exact in decimal: 0.3 is a multiple of 0.1.
type multiple struct {
	of    float64
	exact *big.Rat
}

func newMultiple(of float64) *multiple {
	r, _ := new(big.Rat).SetString(number(of))
	return &multiple{of, r}
}

// divides reports whether a number is a multiple. Scan has bounded its exponent, so this is bounded too.
func (m *multiple) divides(b []byte) bool {
	if v, err := strconv.ParseInt(string(b), 10, 64); err == nil && m.of == math.Trunc(m.of) && m.of < 1<<53 {
		return v%int64(m.of) == 0
	}
	v, ok := new(big.Rat).SetString(string(b))
	return ok && m.exact != nil && v.Quo(v, m.exact).IsInt()
}

// compilePattern compiles a pattern of ECMA-262 where RE2 can.
func compilePattern(pattern string) (*regexp.Regexp, error) {
	var b strings.Builder
	for i := 0; i < len(pattern); i++ {
		if pattern[i] != '\\' || i+1 == len(pattern) {
			b.WriteByte(pattern[i])
			continue
		}
		if pattern[i+1] == 'u' && i+6 <= len(pattern) {
			if _, ok := hex4([]byte(pattern), i); ok {
				b.WriteString(`\x{` + pattern[i+2:i+6] + `}`)
				i += 5
				continue
			}
		}
		b.WriteString(pattern[i : i+2])
		i++
	}
	return regexp.Compile(b.String())
}
