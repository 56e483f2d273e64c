package workload

import (
	"context"
	"crypto/rand"
	"errors"
	"maps"
	"slices"

	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	secretv3 "github.com/envoyproxy/go-control-plane/envoy/service/secret/v3"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// subscription is the state of one DeltaSecrets stream.
type subscription struct {
	first bool
	newer bool
	names []string
	has   map[string]string // name -> version that the client has
}

// DeltaSecrets sends each named secret when it is new or changed, and says which are gone.
func (d *sds) DeltaSecrets(stream secretv3.SecretDiscoveryService_DeltaSecretsServer) error {
	ctx := stream.Context()
	requests := receive(ctx, stream.Recv)
	sub := subscription{first: true, has: map[string]string{}}
	for {
		v, err := d.s.look(ctx, true)
		if err != nil {
			return err
		}
		answer, err := d.delta(ctx, &sub, v)
		if err != nil {
			return err
		}
		if answer != nil {
			if err := stream.Send(answer); err != nil {
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
			if err := d.subscribe(ctx, &sub, req); err != nil {
				return err
			}
		}
	}
}

// subscribe takes a request: changed names, an acknowledgement or a rejection.
func (d *sds) subscribe(ctx context.Context, sub *subscription, req *discoveryv3.DeltaDiscoveryRequest) error {
	if err := checkNames(req.TypeUrl, slices.Concat(sub.names, req.ResourceNamesSubscribe)); err != nil {
		return err
	}
	if len(req.InitialResourceVersions) > maxNames {
		return status.Error(codes.InvalidArgument, "too many versions")
	}
	if sub.first {
		sub.first, sub.newer = false, newer(req.Node)
		maps.Copy(sub.has, req.InitialResourceVersions)
	}
	if req.ErrorDetail != nil {
		d.rejected(ctx, req.ErrorDetail.Message)
	}
	for _, name := range req.ResourceNamesUnsubscribe {
		sub.names = slices.DeleteFunc(sub.names, func(n string) bool { return n == name })
		delete(sub.has, name)
	}
	for _, name := range req.ResourceNamesSubscribe {
		if slices.Contains(sub.names, name) {
			delete(sub.has, name) // asking again means: send again
		} else if name != "" {
			sub.names = append(sub.names, name)
		}
	}
	return nil
}

// delta is what the client lacks, nil if nothing.
func (d *sds) delta(ctx context.Context, sub *subscription, v *view) (*discoveryv3.DeltaDiscoveryResponse, error) {
	out := &discoveryv3.DeltaDiscoveryResponse{TypeUrl: secretType}
	for _, name := range sub.names {
		secret, err := v.secret(name, sub.newer)
		if err != nil {
			return nil, d.s.refuseCall(ctx, err)
		}
		const gone = "-"
		if secret == nil {
			if sub.has[name] != gone {
				sub.has[name] = gone
				out.RemovedResources = append(out.RemovedResources, name)
			}
			continue
		}
		resource := packed(secret)
		version := versionOf(resource)
		if sub.has[name] != version {
			sub.has[name] = version
			out.Resources = append(out.Resources, &discoveryv3.Resource{Name: name, Version: version, Resource: resource})
		}
	}
	if len(out.Resources) == 0 && len(out.RemovedResources) == 0 {
		return nil, nil
	}
	out.Nonce = rand.Text()
	slices.Sort(out.RemovedResources)
	return out, nil
}
