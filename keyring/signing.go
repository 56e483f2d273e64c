package keyring

import (
	"crypto/ecdsa"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// LoadSigningKey reads an ECDSA P-256 key (PEM, PKCS #8) from a file that only its owner may read. The error
// wraps fs.ErrNotExist if there is none, ErrExposed if others may read it.
func LoadSigningKey(path string) (*ecdsa.PrivateKey, error) {
	data, err := readPrivate(path)
	if err != nil {
		return nil, fmt.Errorf("reading a signing key: %w", err)
	}
	key, err := decodeKey(data)
	if err != nil {
		return nil, fmt.Errorf("reading the signing key %s: %w", path, err)
	}
	return key, nil
}

// OpenSigningKey reads the key at path and makes it, with its folder, if there is none. It never replaces a
// file that exists, even one it cannot read. Processes that race get the same key.
func OpenSigningKey(path string) (*ecdsa.PrivateKey, error) {
	key, err := LoadSigningKey(path)
	if !errors.Is(err, fs.ErrNotExist) {
		return key, err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, fmt.Errorf("making the folder of a signing key: %w", err)
	}
	if key, err = newKey(); err != nil {
		return nil, err
	}
	data, err := encodeKey(key)
	if err != nil {
		return nil, err
	}
	if err := createPrivate(path, data); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, fmt.Errorf("writing a signing key: %w", err)
	}
	return LoadSigningKey(path)
}
