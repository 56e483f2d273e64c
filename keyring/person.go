package keyring

import (
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base32"
	"errors"
	"fmt"
	"strings"

	"github.com/tink-crypto/tink-go/v2/daead/subtle"
)

// PersonKeyBytes are those of the key of a person.
const PersonKeyBytes = 32

// pseudonymBytes are those of the HMAC that a pseudonym shows: two of 2^40 persons have the same with a chance of 2^-81.
const pseudonymBytes = 20

const (
	pseudonymBegin  = "person-"
	pseudonymDigits = pseudonymBytes * 8 / 5
	pseudonymLength = len(pseudonymBegin) + pseudonymDigits
	valueBegin      = '.' // between a pseudonym and what is sealed under its key
	digits32        = "abcdefghijklmnopqrstuvwxyz234567"
)

// Person is the key under which a record names one person. Whoever has destroyed it cannot tell any more whom the record means, nor open
// what was sealed under it. It is safe for concurrent use.
type Person struct {
	values    *subtle.AESSIV
	letters   *base32.Encoding // lower case, so that folding changes nothing, and nothing that a path or a query would escape
	pseudonym string
}

// NewPersonKey makes a random key.
func NewPersonKey() []byte {
	key := make([]byte, PersonKeyBytes)
	_, _ = rand.Read(key) // never fails: crypto/rand ends the process instead
	return key
}

// OpenPerson is the person of a name with a key. What it does with the key it derives from it (HKDF-SHA-256, RFC 5869): pseudonyms are HMAC-SHA-256
// (RFC 2104), values are sealed by AES-SIV (RFC 5297), which gives the same value the same form, so that equal ones can be told and stored once.
func OpenPerson(key []byte, name string) (*Person, error) {
	if len(key) != PersonKeyBytes {
		return nil, fmt.Errorf("opening the key of a person: it has %d bytes, not %d", len(key), PersonKeyBytes)
	}
	p := &Person{letters: base32.NewEncoding(digits32).WithPadding(base32.NoPadding)}
	names, err := hkdf.Expand(sha256.New, key, "palisade person v1 name", sha256.Size)
	if err != nil {
		return nil, fmt.Errorf("opening the key of a person: %w", err)
	}
	values, err := hkdf.Expand(sha256.New, key, "palisade person v1 values", subtle.AESSIVKeySize)
	if err == nil {
		p.values, err = subtle.NewAESSIV(values)
	}
	if err != nil {
		return nil, fmt.Errorf("opening the key of a person: %w", err)
	}
	sum := hmac.New(sha256.New, names)
	sum.Write([]byte(name))
	p.pseudonym = pseudonymBegin + p.letters.EncodeToString(sum.Sum(nil)[:pseudonymBytes])
	return p, nil
}

// Pseudonym is what stands for the name.
func (p *Person) Pseudonym() string { return p.pseudonym }

// Seal returns what stands for a value: the pseudonym, so that it can be told whose it is, and the value under the key.
func (p *Person) Seal(value string) (string, error) {
	sealed, err := p.values.EncryptDeterministically([]byte(value), []byte(p.pseudonym))
	if err != nil {
		return "", fmt.Errorf("sealing a value of a person: %w", err)
	}
	return p.pseudonym + string(valueBegin) + p.letters.EncodeToString(sealed), nil
}

// Open returns what Seal was given. The error wraps ErrSealed if it does not open.
func (p *Person) Open(sealed string) (string, error) {
	text, ok := strings.CutPrefix(sealed, p.pseudonym+string(valueBegin))
	data, err := p.letters.DecodeString(text)
	if !ok || err != nil || p.letters.EncodeToString(data) != text {
		return "", fmt.Errorf("opening a value of a person: %w", ErrSealed)
	}
	value, err := p.values.DecryptDeterministically(data, []byte(p.pseudonym))
	if err != nil {
		return "", fmt.Errorf("opening a value of a person: %w", errors.Join(ErrSealed, err))
	}
	return string(value), nil
}

// Pseudonyms finds the first pseudonym in a text, with what is sealed behind it if there is something: text[from:to] is all of it, text[from:end] the
// pseudonym. False if there is none.
func Pseudonyms(text string) (from, end, to int, found bool) {
	for at := 0; ; {
		i := strings.Index(text[at:], pseudonymBegin)
		if i < 0 || len(text)-at-i < pseudonymLength {
			return 0, 0, 0, false
		}
		from, end = at+i, at+i+pseudonymLength
		if run := digitsOf(text[from+len(pseudonymBegin):]); run == pseudonymDigits {
			to = end
			if to < len(text) && text[to] == valueBegin {
				if n := digitsOf(text[to+1:]); n > 0 {
					to += 1 + n
				}
			}
			return from, end, to, true
		}
		at = from + len(pseudonymBegin)
	}
}

// digitsOf counts the digits that a text begins with.
func digitsOf(text string) (n int) {
	for n < len(text) && (text[n] >= 'a' && text[n] <= 'z' || text[n] >= '2' && text[n] <= '7') {
		n++
	}
	return n
}
