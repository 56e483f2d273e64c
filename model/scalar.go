package model

import (
	"errors"
	"fmt"
	"math"
	"net/netip"
	"strconv"
	"strings"
	"time"
)

// Duration is a time span written as Go writes it: 250ms, 5s, 1h30m.
type Duration time.Duration

// UnmarshalText parses a positive duration.
func (d *Duration) UnmarshalText(b []byte) error {
	v, err := time.ParseDuration(string(b))
	if err != nil && tooLong(string(b)) {
		return fmt.Errorf("%q is out of range; a duration is at most %dh", b, int64(math.MaxInt64/time.Hour))
	}
	if err != nil || v < 0 {
		return fmt.Errorf("%q is not a duration; write 250ms, 5s or 1h30m", b)
	}
	*d = Duration(v)
	return nil
}

// tooLong tells whether text that could not be read as a duration has the form of one, so that its numbers are why.
func tooLong(text string) bool {
	_, err := time.ParseDuration(strings.Map(func(r rune) rune {
		if r >= '0' && r <= '9' {
			return '0'
		}
		return r
	}, text))
	return err == nil && !strings.HasPrefix(text, "-") && strings.TrimRight(text, "0123456789") == text
}

// MarshalText writes the duration as Go does.
func (d Duration) MarshalText() ([]byte, error) { return []byte(brief(time.Duration(d))), nil }

// Std returns the duration as the standard library's type.
func (d Duration) Std() time.Duration { return time.Duration(d) }

// Size is a number of bytes, written with a binary unit: 512B, 32KiB, 1MiB, 2GiB.
type Size int64

// UnmarshalText parses a size; a number without unit is bytes.
func (s *Size) UnmarshalText(b []byte) error {
	text := strings.TrimSpace(string(b))
	number, unit := text, int64(1)
	for _, u := range []struct {
		suffix string
		factor int64
	}{{"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}, {"B", 1}} {
		if n, ok := strings.CutSuffix(text, u.suffix); ok {
			number, unit = strings.TrimSpace(n), u.factor
			break
		}
	}
	v, err := strconv.ParseInt(number, 10, 64)
	if err != nil || v < 0 || v > (1<<62)/unit {
		return fmt.Errorf("%q is not a size; write 512B, 32KiB, 1MiB or 2GiB", b)
	}
	*s = Size(v * unit)
	return nil
}

// MarshalText writes the size with the largest unit that divides it.
func (s Size) MarshalText() ([]byte, error) {
	for _, u := range []struct {
		factor Size
		suffix string
	}{{1 << 30, "GiB"}, {1 << 20, "MiB"}, {1 << 10, "KiB"}} {
		if s != 0 && s%u.factor == 0 {
			return []byte(strconv.FormatInt(int64(s/u.factor), 10) + u.suffix), nil
		}
	}
	return []byte(strconv.FormatInt(int64(s), 10) + "B"), nil
}

// Rate is Count units in Window, written 100/1m or 5/s.
type Rate struct {
	Count  int
	Window time.Duration
}

var errRate = errors.New("not a rate; write 100/1m, 5/s or 1000/1h")

// UnmarshalText parses count/window; a window without number is one unit: 5/s.
func (r *Rate) UnmarshalText(b []byte) error {
	count, window, ok := strings.Cut(string(b), "/")
	n, err := strconv.Atoi(strings.TrimSpace(count))
	if !ok || err != nil || n <= 0 {
		return fmt.Errorf("%q is %w", b, errRate)
	}
	window = strings.TrimSpace(window)
	if window != "" && (window[0] < '0' || window[0] > '9') {
		window = "1" + window
	}
	w, err := time.ParseDuration(window)
	if err != nil || w <= 0 {
		return fmt.Errorf("%q is %w", b, errRate)
	}
	r.Count, r.Window = n, w
	return nil
}

// MarshalText writes the rate as it is read.
func (r Rate) MarshalText() ([]byte, error) {
	return []byte(strconv.Itoa(r.Count) + "/" + brief(r.Window)), nil
}

// Prefix is an address range in CIDR form; a single address is a range of one.
type Prefix struct{ netip.Prefix }

// UnmarshalText parses 10.0.0.0/8, 2001:db8::/32 or a single address.
func (p *Prefix) UnmarshalText(b []byte) error {
	if a, err := netip.ParseAddr(string(b)); err == nil {
		p.Prefix = netip.PrefixFrom(a, a.BitLen())
		return nil
	}
	v, err := netip.ParsePrefix(string(b))
	if err != nil || v != v.Masked() {
		return fmt.Errorf("%q is not an address range; write 10.0.0.0/8 or 2001:db8::/32 with no bits set past the prefix", b)
	}
	p.Prefix = v
	return nil
}

// brief writes a duration without the zeros that Go adds: 1m, not 1m0s.
func brief(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}
