package keyring

import (
	"errors"
	"strings"
	"testing"
)

func person(t testing.TB, key []byte, name string) *Person {
	t.Helper()
	p, err := OpenPerson(key, name)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// TestPerson: a key gives a name one pseudonym, another key another one, and opens what it has sealed alone.
func TestPerson(t *testing.T) {
	key := NewPersonKey()
	alice, again, other := person(t, key, "alice"), person(t, key, "alice"), person(t, NewPersonKey(), "alice")
	if alice.Pseudonym() != again.Pseudonym() || alice.Pseudonym() == other.Pseudonym() || len(alice.Pseudonym()) != pseudonymLength {
		t.Errorf("%s, %s, %s", alice.Pseudonym(), again.Pseudonym(), other.Pseudonym())
	}
	if bob := person(t, key, "bob"); bob.Pseudonym() == alice.Pseudonym() {
		t.Error("two names have one pseudonym")
	}
	for _, value := range []string{"", "a", "alice@shop.example", strings.Repeat("ä", 4000)} {
		sealed, err := alice.Seal(value)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := again.Open(sealed); err != nil || got != value {
			t.Errorf("%q: %q, %v", value, got, err)
		}
		if len(value) > 3 && strings.Contains(sealed, value) {
			t.Error("it is not sealed")
		}
		for _, wrong := range []string{strings.Replace(sealed, alice.Pseudonym(), other.Pseudonym(), 1), sealed[:len(sealed)-2], sealed + "aa", alice.Pseudonym(), "", "person-"} {
			for _, p := range []*Person{alice, other} {
				if got, err := p.Open(wrong); !errors.Is(err, ErrSealed) {
					t.Errorf("%q opens as %q, %v", wrong, got, err)
				}
			}
		}
		from, end, to, found := Pseudonyms("said person-x of " + sealed + ", and no more")
		if all := "said person-x of " + sealed + ", and no more"; !found || all[from:to] != sealed || all[from:end] != alice.Pseudonym() {
			t.Errorf("%d, %d, %d, %v", from, end, to, found)
		}
	}
	if _, err := OpenPerson(key[1:], "alice"); err == nil {
		t.Error("a short key opens")
	}
	for _, text := range []string{"", "person-", "person-abc", alice.Pseudonym() + "a", strings.ToUpper(alice.Pseudonym())} {
		if _, _, _, found := Pseudonyms(text); found {
			t.Errorf("%q has a pseudonym", text)
		}
	}
}

// FuzzPseudonyms: whatever a text says, what is found lies in it and is well formed.
func FuzzPseudonyms(f *testing.F) {
	p := person(f, make([]byte, PersonKeyBytes), "alice")
	sealed, err := p.Seal("x")
	if err != nil {
		f.Fatal(err)
	}
	f.Add("/users/" + p.Pseudonym() + "/a?b=" + sealed)
	f.Add("person-person-" + p.Pseudonym() + ".")
	f.Fuzz(func(t *testing.T, text string) {
		from, end, to, found := Pseudonyms(text)
		if !found {
			return
		}
		if from < 0 || end-from != pseudonymLength || to < end || to > len(text) || !strings.HasPrefix(text[from:], pseudonymBegin) {
			t.Fatalf("%q: %d, %d, %d", text, from, end, to)
		}
		if value, err := p.Open(text[from:to]); err == nil {
			if again, err := p.Seal(value); err != nil || again != text[from:to] {
				t.Fatalf("%q opens, and is sealed as %q: %v", text[from:to], again, err)
			}
		}
	})
}
