//go:build !pkcs11 || !cgo

package pkcs11

import (
	"errors"
	"testing"
)

// TestNotBuilt holds that a build without PKCS#11 says so.
func TestNotBuilt(t *testing.T) {
	if _, err := Open("pkcs11:token=a?module-path=/m&pin-source=/p"); !errors.Is(err, ErrNotBuilt) {
		t.Error(err)
	}
}
