// Package bucket keeps objects in S3-compatible storage: Amazon S3, MinIO, Ceph and others that speak its protocol with
// Signature Version 4. It knows nothing of what is in them, and tries little again: who uses it has patience of its own.
package bucket

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"iter"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"
	"github.com/minio/minio-go/v7/pkg/s3utils"
)

// ErrAbsent says that there is no such object.
var ErrAbsent = errors.New("there is no such object")

// ErrShort says that an object ends before what is read of it.
var ErrShort = errors.New("the object ends before that")

// ErrChanged says that an object is not the one that Replace was to replace.
var ErrChanged = errors.New("the object was changed meanwhile")

// Options say where objects lie.
type Options struct {
	URL            string // http(s)://host:port of the service
	Bucket         string
	Prefix         string // before all names; a slash stands between them; empty: none
	Region         string // empty: that of the URL at Amazon, else us-east-1
	User, Password string // access key id and secret access key
	TLS            *tls.Config
}

// Bucket is safe for concurrent use. Its errors name the bucket and the host, and no secret.
type Bucket struct {
	opts   Options
	client *minio.Core
	pool   *http.Transport
	where  string // for people
}

const (
	tries   = 3                // of a request that the service asks to send again
	patient = 30 * time.Second // of a request, beside the time that its bytes take
	slowest = 256 << 10        // bytes a second below which a transfer is given up
	whole   = 5 << 30          // bytes of an object that is put at once, as S3 bounds it
)

// New connects lazily. Redirects are not followed: they would take credentials elsewhere.
func New(o Options) (*Bucket, error) {
	u, err := url.Parse(o.URL)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" || strings.Trim(u.Path, "/") != "" {
		return nil, errors.New("preparing object storage: the URL is not https://host:port")
	}
	if o.Prefix = strings.Trim(o.Prefix, "/"); o.Prefix != "" {
		o.Prefix += "/"
	}
	if o.Region == "" && !s3utils.IsAmazonEndpoint(*u) {
		o.Region = "us-east-1"
	}
	b := &Bucket{opts: o, where: "bucket " + o.Bucket + " at " + u.Host}
	b.pool = &http.Transport{
		Proxy: http.ProxyFromEnvironment, TLSClientConfig: o.TLS, ForceAttemptHTTP2: false, DisableCompression: true,
		DialContext:         (&net.Dialer{Timeout: 5 * time.Second}).DialContext,
		MaxIdleConnsPerHost: 16, IdleConnTimeout: 90 * time.Second, TLSHandshakeTimeout: 10 * time.Second, ResponseHeaderTimeout: patient,
	}
	client, err := minio.New(u.Host, &minio.Options{
		Creds: credentials.NewStaticV4(o.User, o.Password, ""), Secure: u.Scheme == "https", Transport: b.pool, Region: o.Region, MaxRetries: tries,
	})
	if err != nil {
		return nil, fmt.Errorf("preparing object storage: %w", err)
	}
	client.SetAppInfo("palisade", "1")
	b.client = &minio.Core{Client: client}
	return b, nil
}

// String is the bucket for people.
func (b *Bucket) String() string { return b.where }

// Close ends idle connections.
func (b *Bucket) Close() error {
	b.pool.CloseIdleConnections()
	return nil
}

// within bounds a request by what its bytes take at the slowest.
func within(ctx context.Context, size int64) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, patient+time.Duration(size/slowest)*time.Second)
}

// wrong tells the sentinels apart.
func (b *Bucket) wrong(doing, name string, err error) error {
	said := minio.ToErrorResponse(err)
	switch {
	case said.Code == minio.NoSuchKey:
		return fmt.Errorf("%s %s in %s: %w", doing, name, b.where, ErrAbsent)
	case said.StatusCode == http.StatusRequestedRangeNotSatisfiable:
		return fmt.Errorf("%s %s in %s: %w", doing, name, b.where, ErrShort)
	case said.StatusCode == http.StatusPreconditionFailed, said.StatusCode == http.StatusConflict:
		return fmt.Errorf("%s %s in %s: %w", doing, name, b.where, ErrChanged)
	}
	if wrapped, ok := errors.AsType[*url.Error](err); ok { // it would repeat where
		err = wrapped.Err
	}
	return fmt.Errorf("%s %s in %s: %w", doing, name, b.where, err)
}

// encoded is a CRC-32C as S3 writes it.
func encoded(sum uint32) string {
	return base64.StdEncoding.EncodeToString(binary.BigEndian.AppendUint32(nil, sum))
}

// Put writes an object, in place of one of that name, and returns when the service has compared its bytes with their CRC-32C,
// or, where it does not say so, when they were read back and are the same.
func (b *Bucket) Put(ctx context.Context, name, kind string, from io.ReaderAt, size int64, sum uint32) error {
	if size > whole {
		return fmt.Errorf("writing %s to %s: it has %d bytes, which is more than an object may have", name, b.where, size)
	}
	ctx, cancel := within(ctx, 2*size)
	defer cancel()
	info, err := b.put(ctx, name, io.NewSectionReader(from, 0, size), size, minio.PutObjectOptions{
		ContentType: kind, UserMetadata: map[string]string{"X-Amz-Checksum-Crc32c": encoded(sum)},
	})
	if err != nil {
		return b.wrong("writing", name, err)
	}
	switch info.ChecksumCRC32C {
	case encoded(sum):
		return nil
	case "":
		return b.verify(ctx, name, size, sum)
	}
	return fmt.Errorf("writing %s to %s: what arrived has another checksum", name, b.where)
}

func (b *Bucket) put(ctx context.Context, name string, from io.Reader, size int64, o minio.PutObjectOptions) (minio.UploadInfo, error) {
	o.DisableMultipart = true
	return b.client.Client.PutObject(ctx, b.opts.Bucket, b.opts.Prefix+name, from, size, o)
}

// verify reads an object back.
func (b *Bucket) verify(ctx context.Context, name string, size int64, sum uint32) error {
	body, _, _, err := b.client.GetObject(ctx, b.opts.Bucket, b.opts.Prefix+name, minio.GetObjectOptions{})
	if err != nil {
		return b.wrong("reading back", name, err)
	}
	defer body.Close()
	h := crc32.New(crc32.MakeTable(crc32.Castagnoli))
	n, err := io.Copy(h, io.LimitReader(body, size+1))
	if err != nil {
		return b.wrong("reading back", name, err)
	}
	if n != size || h.Sum32() != sum {
		return fmt.Errorf("reading back %s in %s: it is not what was written", name, b.where)
	}
	return nil
}

// Replace writes a small object if the one there has a tag that Get or Replace returned, or if there is none and tag is empty. The error
// wraps ErrChanged if that is not so.
func (b *Bucket) Replace(ctx context.Context, name, kind string, data []byte, tag string) (next string, err error) {
	ctx, cancel := within(ctx, int64(len(data)))
	defer cancel()
	o := minio.PutObjectOptions{ContentType: kind}
	if tag == "" {
		o.SetMatchETagExcept("*")
	} else {
		o.SetMatchETag(tag)
	}
	info, err := b.put(ctx, name, bytes.NewReader(data), int64(len(data)), o)
	if err != nil {
		return "", b.wrong("writing", name, err)
	}
	return info.ETag, nil
}

// Get reads an object of at most so many bytes, and its tag. The error wraps ErrAbsent if there is none.
func (b *Bucket) Get(ctx context.Context, name string, most int64) (data []byte, tag string, err error) {
	ctx, cancel := within(ctx, most)
	defer cancel()
	body, info, _, err := b.client.GetObject(ctx, b.opts.Bucket, b.opts.Prefix+name, minio.GetObjectOptions{})
	if err != nil {
		return nil, "", b.wrong("reading", name, err)
	}
	defer body.Close()
	if data, err = io.ReadAll(io.LimitReader(body, most+1)); err != nil {
		return nil, "", b.wrong("reading", name, err)
	}
	if int64(len(data)) > most {
		return nil, "", fmt.Errorf("reading %s in %s: it has more than %d bytes", name, b.where, most)
	}
	return data, info.ETag, nil
}

// Read fills p with the bytes of an object from a place on. The error wraps ErrAbsent if there is no such object, ErrShort if it does not have
// them all.
func (b *Bucket) Read(ctx context.Context, name string, p []byte, at int64) error {
	if len(p) == 0 {
		return nil
	}
	ctx, cancel := within(ctx, int64(len(p)))
	defer cancel()
	var o minio.GetObjectOptions
	if err := o.SetRange(at, at+int64(len(p))-1); err != nil {
		return b.wrong("reading", name, err)
	}
	body, info, _, err := b.client.GetObject(ctx, b.opts.Bucket, b.opts.Prefix+name, o)
	if err != nil {
		return b.wrong("reading", name, err)
	}
	defer body.Close()
	if info.Size < int64(len(p)) {
		return fmt.Errorf("reading %s in %s: %d bytes were asked for, it answers %d: %w", name, b.where, len(p), info.Size, ErrShort)
	}
	if info.Size != int64(len(p)) {
		return fmt.Errorf("reading %s in %s: %d bytes were asked for, it answers %d", name, b.where, len(p), info.Size)
	}
	if _, err := io.ReadFull(body, p); err != nil {
		return b.wrong("reading", name, err)
	}
	return nil
}

// Delete removes an object; that there is none is no error.
func (b *Bucket) Delete(ctx context.Context, name string) error {
	ctx, cancel := within(ctx, 0)
	defer cancel()
	err := b.client.RemoveObject(ctx, b.opts.Bucket, b.opts.Prefix+name, minio.RemoveObjectOptions{})
	if err != nil && minio.ToErrorResponse(err).Code != minio.NoSuchKey {
		return b.wrong("deleting", name, err)
	}
	return nil
}

// Names hands out the names that begin with something. After an error it ends.
func (b *Bucket) Names(ctx context.Context, beginning string) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		for o := range b.client.ListObjectsIter(ctx, b.opts.Bucket, minio.ListObjectsOptions{Prefix: b.opts.Prefix + beginning, Recursive: true}) {
			if o.Err != nil {
				yield("", b.wrong("listing", beginning, o.Err))
				return
			}
			if !yield(strings.TrimPrefix(o.Key, b.opts.Prefix), nil) {
				return
			}
		}
	}
}
