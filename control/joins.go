package control

import (
	"context"
	"crypto/sha256"
	"errors"

	"github.com/palisade-security/palisade/identity/attest"
	"github.com/palisade-security/palisade/store/table"
)

// joins keeps join tokens in the store; it is attest.JoinStore.
type joins struct{ store *table.Store }

// Put is attest.JoinStore's.
func (j joins) Put(ctx context.Context, r attest.JoinRecord) error {
	return j.store.Write(ctx, func(t *table.Tx) error {
		return t.AddJoinToken(ctx, table.JoinToken{Hash: r.Hash, Name: r.Name, Expires: r.Expires})
	})
}

// Take is attest.JoinStore's. If it is not known whether the token was taken, it counts as taken.
func (j joins) Take(ctx context.Context, hash [sha256.Size]byte) (attest.JoinRecord, error) {
	var taken table.JoinToken
	err := j.store.Write(ctx, func(t *table.Tx) (err error) {
		taken, err = t.TakeJoinToken(ctx, hash)
		return err
	})
	if errors.Is(err, table.ErrNotFound) {
		return attest.JoinRecord{}, attest.ErrJoinToken
	}
	return attest.JoinRecord{Hash: taken.Hash, Name: taken.Name, Expires: taken.Expires}, err
}
