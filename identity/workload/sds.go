package workload

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"

	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	secretv3 "github.com/envoyproxy/go-control-plane/envoy/service/secret/v3"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/anypb"
)

// secretType is the one type of resource served here.
const secretType = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret"

// Bounds of what one stream asks for.
const (
	maxNames = 256
	maxName  = 2048 + len("spiffe://")
)

// sds is Envoy's secret discovery service, version 3 (xDS protocol: state of the world and incremental).
type sds struct {
	secretv3.UnimplementedSecretDiscoveryServiceServer
	s *Server
}

// FetchSecrets answers once.
func (d *sds) FetchSecrets(ctx context.Context, req *discoveryv3.DiscoveryRequest) (*discoveryv3.DiscoveryResponse, error) {
	if err := checkNames(req.TypeUrl, req.ResourceNames); err != nil {
		return nil, err
	}
	v, err := d.s.look(ctx, true)
	if err != nil {
		return nil, err
	}
	resources, err := d.resources(ctx, v, req)
	if err != nil {
		return nil, err
	}
	return &discoveryv3.DiscoveryResponse{TypeUrl: secretType, VersionInfo: versionOf(resources...), Resources: resources}, nil
}

// checkNames refuses what no Envoy asks for.
func checkNames(typeURL string, names []string) error {
	if typeURL != "" && typeURL != secretType {
		return status.Error(codes.InvalidArgument, "only secrets are served here")
	}
	if len(names) > maxNames || slices.ContainsFunc(names, func(n string) bool { return len(n) > maxName }) {
		return status.Error(codes.InvalidArgument, "too many names, or too long")
	}
	return nil
}

// resources are the secrets that a request names, or all. Asking for one that is not the caller's is refused,
// not passed over: Envoy would wait for it without a word.
func (d *sds) resources(ctx context.Context, v *view, req *discoveryv3.DiscoveryRequest) ([]*anypb.Any, error) {
	names := slices.DeleteFunc(slices.Clone(req.ResourceNames), func(n string) bool { return n == "" })
	slices.Sort(names)
	names = slices.Compact(names)
	if len(names) == 0 {
		names = v.names()
	}
	out := make([]*anypb.Any, 0, len(names))
	for _, name := range names {
		secret, err := v.secret(name, newer(req.Node))
		if err == nil && secret == nil {
			err = fmt.Errorf("asked for secret %q: %w", name, ErrDenied)
		}
		if err != nil {
			return nil, d.s.refuseCall(ctx, err)
		}
		out = append(out, packed(secret))
	}
	return out, nil
}

// receive hands on what recv returns until it fails. It ends with the stream, which ends with its handler.
func receive[T any](ctx context.Context, recv func() (T, error)) <-chan T {
	out := make(chan T)
	go func() {
		defer close(out)
		for {
			req, err := recv()
			if err != nil {
				return
			}
			select {
			case out <- req:
			case <-ctx.Done():
				return
			}
		}
	}()
	return out
}

// conversation is the state of one StreamSecrets stream.
type conversation struct {
	asked         *discoveryv3.DiscoveryRequest // the latest that counts
	version       string                        // sent last
	nonce         string
	sentNames     []string
	sentSecretsOf *view
}

// StreamSecrets sends the named secrets now and after each change.
func (d *sds) StreamSecrets(stream secretv3.SecretDiscoveryService_StreamSecretsServer) error {
	ctx := stream.Context()
	requests := receive(ctx, stream.Recv)
	var c conversation
	for {
		v, err := d.s.look(ctx, true)
		if err != nil {
			return err
		}
		if c.due(v) {
			if err := d.answer(stream, &c, v); err != nil {
				return err
			}
		}
		req, got, err := await(ctx, v.changed, requests)
		if errors.Is(err, errClosed) {
			return nil
		}
		if err != nil {
			return err
		}
		if got {
			if err := d.hear(ctx, &c, req); err != nil {
				return err
			}
		}
	}
}

// due tells whether there is something to say: something was asked for, and it or the question is new.
func (c *conversation) due(v *view) bool {
	return c.asked != nil && (!v.same(c.sentSecretsOf) || !slices.Equal(c.sentNames, c.asked.ResourceNames))
}

// answer sends the secrets, unless the client has exactly these.
func (d *sds) answer(stream secretv3.SecretDiscoveryService_StreamSecretsServer, c *conversation, v *view) error {
	resources, err := d.resources(stream.Context(), v, c.asked)
	if err != nil {
		return err
	}
	version := versionOf(resources...)
	sameNames := slices.Equal(c.sentNames, c.asked.ResourceNames)
	c.sentNames, c.sentSecretsOf = c.asked.ResourceNames, v
	if c.nonce != "" && version == c.version && sameNames {
		return nil
	}
	c.version, c.nonce = version, rand.Text()
	return stream.Send(&discoveryv3.DiscoveryResponse{TypeUrl: secretType, VersionInfo: version, Nonce: c.nonce, Resources: resources})
}

// hear takes a request: the first, an acknowledgement, a rejection or a changed list of names. A rejection is
// logged, and nothing is sent again before something changes: Envoy would reject the same again.
func (d *sds) hear(ctx context.Context, c *conversation, req *discoveryv3.DiscoveryRequest) error {
	if err := checkNames(req.TypeUrl, req.ResourceNames); err != nil {
		return err
	}
	if c.nonce != "" && req.ResponseNonce != c.nonce {
		return nil // about an answer that a newer one has overtaken
	}
	if req.Node == nil && c.asked != nil {
		req.Node = c.asked.Node // sent with the first request only
	}
	c.asked = req
	if c.nonce != "" && (req.ErrorDetail != nil || req.VersionInfo != c.version) {
		d.rejected(ctx, req.ErrorDetail.GetMessage())
	}
	return nil
}

// rejected records that Envoy did not take what it was sent.
func (d *sds) rejected(ctx context.Context, reason string) {
	const most = 512
	if len(reason) > most {
		reason = reason[:most]
	}
	caller, err := callerOf(ctx)
	if err != nil {
		return
	}
	d.s.cfg.Log.WarnContext(ctx, "secrets were rejected", "pid", caller.PID(), "reason", reason)
}
