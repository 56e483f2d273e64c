package pkcs11

import (
	"strings"
	"testing"
)

// TestParseURI holds what names a token and what is refused.
func TestParseURI(t *testing.T) {
	const tail = "?module-path=/lib/x.so&pin-source=file:/run/pin"
	for text, want := range map[string]URI{
		"pkcs11:token=palisade" + tail:                       {Token: "palisade", ModulePath: "/lib/x.so", PINSource: "/run/pin"},
		"pkcs11:serial=0a1b" + tail:                          {Serial: "0a1b", ModulePath: "/lib/x.so", PINSource: "/run/pin"},
		"pkcs11:token=the%20mesh;serial=1" + tail:            {Token: "the mesh", Serial: "1", ModulePath: "/lib/x.so", PINSource: "/run/pin"},
		"pkcs11:token=a?pin-source=/p&module-path=/m":        {Token: "a", ModulePath: "/m", PINSource: "/p"},
		"pkcs11:token=a?pin-source=file:///p&module-path=/m": {Token: "a", ModulePath: "/m", PINSource: "/p"},
	} {
		if got, err := ParseURI(text); err != nil || got != want {
			t.Errorf("%s: %+v, %v", text, got, err)
		}
	}
	for _, text := range []string{
		"", "pkcs11:", "pkcs11:token=" + tail, "file:/x", "pkcs11:token=a", "pkcs11:token=a?module-path=x.so&pin-source=file:/p",
		"pkcs11:token=a;token=b" + tail, "pkcs11:object=a" + tail, "pkcs11:token=%zz" + tail, "pkcs11:token=a%00b" + tail,
		"pkcs11:token=a" + tail + "&x=1", "pkcs11:token=a?module-path=/m", "pkcs11:token=a?module-path=/m&pin-source=http:/x",
		"pkcs11:token=a?module-path=/m&pin-value=hunter2",
	} {
		if got, err := ParseURI(text); err == nil || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%q is read as %+v: %v", text, got, err)
		}
	}
}

// FuzzParseURI holds that what is accepted is whole and that nothing panics.
func FuzzParseURI(f *testing.F) {
	f.Add("pkcs11:token=palisade?module-path=/lib/x.so&pin-source=file:/run/pin")
	f.Add("pkcs11:token=%41;serial=1?pin-value=1")
	f.Fuzz(func(t *testing.T, text string) {
		u, err := ParseURI(text)
		if err == nil && (u.Token == "" && u.Serial == "" || u.ModulePath == "" || u.PINSource == "") {
			t.Errorf("%q is read as %+v", text, u)
		}
	})
}
