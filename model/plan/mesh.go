package plan

import (
	"bytes"

	"github.com/palisade-security/palisade/model"
)

func (d *differ) mesh() {
	was, is := d.before.Mesh, d.after.Mesh
	switch {
	case was == nil && is == nil:
		return
	case was == nil:
		d.add(Changes, "mesh", "calls between services need an identity")
		was = &model.ResolvedMesh{SVID: is.SVID, Stale: is.Stale, Isolation: is.Isolation}
	case is == nil:
		d.add(Widens, "mesh", "calls between services need no identity, and nobody checks them")
		return
	}
	d.bound("mesh.svid.lifetime", "the life of identities", int64(was.SVID.Lifetime), int64(is.SVID.Lifetime), duration)
	d.bound("mesh.svid.jwt_lifetime", "the life of JWT-SVIDs", int64(was.SVID.JWTLifetime), int64(is.SVID.JWTLifetime), duration)
	d.ranked("mesh.stale", "what happens with control away", was.Stale, is.Stale, "serve", "stop")
	d.ranked("mesh.isolation", "the isolation of services", was.Isolation, is.Isolation, "off", "namespace")
	if d.before.Mesh != nil {
		d.text(MayWiden, "mesh.issuer.workload_api", "who signs identities", was.WorkloadAPI, is.WorkloadAPI)
		if !bytes.Equal(was.Chain, is.Chain) {
			d.add(MayWiden, "mesh.issuer.upstream.chain", "another authority stands behind the identities")
		}
		if was.Key != is.Key {
			d.add(MayWiden, "mesh.issuer.upstream.key", "another key signs identities")
		}
		d.text(Changes, "mesh.keys", "what wraps signing keys", was.Keys, is.Keys)
		d.text(Changes, "mesh.control.address", "where control is found", was.Control, is.Control)
		d.control(&was.Server, &is.Server)
	}
	name := func(f *model.ResolvedFederation) string { return f.TrustDomain }
	union(was.Federation, is.Federation, name, func(name string, was, is *model.ResolvedFederation) {
		key := join("mesh.federation", name)
		switch {
		case was == nil:
			d.add(Widens, key, "identities of "+name+" are recognised")
		case is == nil:
			d.add(Narrows, key, "identities of "+name+" are no longer recognised")
		default:
			d.text(MayWiden, key+".url", "where its bundle comes from", was.URL, is.URL)
			d.text(MayWiden, key+".profile", "how its endpoint proves itself", was.Profile, is.Profile)
			d.text(MayWiden, key+".endpoint_id", "who its endpoint is", was.EndpointID, is.EndpointID)
			if !bytes.Equal(was.Bundle, is.Bundle) {
				d.add(MayWiden, key+".bundle", "its first bundle is another")
			}
		}
	})
}
