package app

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"

	"github.com/palisade-security/palisade/app/sinks"
	"github.com/palisade-security/palisade/internal/bucket"
	"github.com/palisade-security/palisade/model"
)

// bucketFile is what a store of events lies in beside its files, as its model had it, for who reads it without a model. It holds
// references to secrets and no secret.
const bucketFile = "bucket.json"

// openBucket connects to a bucket of the model, lazily; nil if there is none.
func openBucket(b *model.AuditBucket) (*bucket.Bucket, error) {
	if b == nil {
		return nil, nil //nolint:nilnil // as the model has it
	}
	password, err := b.Password.Resolve(os.LookupEnv)
	if err != nil {
		return nil, fmt.Errorf("audit.bucket.password: %w", err)
	}
	u, err := url.Parse(b.URL)
	if err != nil {
		return nil, errors.New("audit.bucket.url: it cannot be read")
	}
	config, err := sinks.Secured(u, b.CA, nil)
	if err != nil {
		return nil, fmt.Errorf("audit.bucket.%w", err)
	}
	out, err := bucket.New(bucket.Options{URL: b.URL, Bucket: b.Name, Prefix: b.Prefix, Region: b.Region, User: b.User, Password: password, TLS: config})
	if err != nil {
		return nil, fmt.Errorf("audit.bucket: %w", err)
	}
	return out, nil
}

// noteBucket writes down in a state directory what its store of events lies in.
func noteBucket(state string, b *model.AuditBucket) error {
	path := filepath.Join(archiveDir(state), bucketFile)
	if b == nil {
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		return nil
	}
	text, err := json.Marshal(b)
	if err == nil {
		err = os.MkdirAll(filepath.Dir(path), 0o700)
	}
	if err == nil {
		err = os.WriteFile(path+".new", text, 0o600)
	}
	if err == nil {
		err = os.Rename(path+".new", path)
	}
	if err != nil {
		return fmt.Errorf("noting the bucket of events: %w", err)
	}
	return nil
}

// notedBucket is what the store of events of a state directory lies in beside its files; nil if that is nothing.
func notedBucket(state string) (*model.AuditBucket, error) {
	text, err := os.ReadFile(filepath.Join(archiveDir(state), bucketFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil //nolint:nilnil // as it is
	}
	if err != nil {
		return nil, fmt.Errorf("reading what the store of events lies in: %w", err)
	}
	b := &model.AuditBucket{}
	if err := json.Unmarshal(text, b); err != nil {
		return nil, fmt.Errorf("reading what the store of events lies in: %s: %w", bucketFile, err)
	}
	return b, nil
}

// recalledBucket connects to what notedBucket says, for who reads a state directory. Secrets are read from here.
func recalledBucket(state string) (*bucket.Bucket, error) {
	b, err := notedBucket(state)
	if err != nil {
		return nil, err
	}
	out, err := openBucket(b)
	if err != nil {
		return nil, fmt.Errorf("the events of %s lie in object storage: %w", state, err)
	}
	return out, nil
}
