package plan

import (
	"bytes"
	"maps"
	"reflect"
	"slices"

	"github.com/palisade-security/palisade/model"
)

// control compares what control stands on. It holds once control starts with it.
func (d *differ) control(was, is *model.ResolvedControl) {
	const key = "mesh.control"
	d.text(Changes, key+".listen", "where control listens", was.Listen, is.Listen)
	d.text(Changes, key+".admin", "where control shows metrics and health", was.Admin, is.Admin)
	if was.Store != is.Store {
		d.add(Changes, key+".store", "control keeps its truth in another place, which knows nothing of what stood in the one before")
	}
	if !reflect.DeepEqual(was.Bus, is.Bus) {
		d.add(Changes, key+".bus", "control speaks to proxies over another bus, or over it in another way")
	}
	d.bound(key+".join", "the longest life of join tokens", int64(was.Join), int64(is.Join), duration)
	d.bound(key+".grace", "how long an SVID that has ended still proves what a proxy is", int64(was.Grace), int64(is.Grace), duration)
	d.administrators(key+".administrators", was.Administrators, is.Administrators)
	d.console(key+".console", was.Console, is.Console)
	switch {
	case was.PublishLedger == is.PublishLedger:
	case is.PublishLedger:
		d.add(Widens, key+".publish_ledger", "whoever reaches control may read hashes of records, and how many there are")
	default:
		d.add(Narrows, key+".publish_ledger", "witnesses no longer read the ledger from control")
	}
	switch {
	case reflect.DeepEqual(was.Kubernetes, is.Kubernetes):
	case is.Kubernetes == nil:
		d.add(Narrows, key+".kubernetes", "service accounts no longer prove what a proxy is")
	default:
		d.add(MayWiden, key+".kubernetes", "service accounts prove what a proxy is, by the word of another API server than before")
	}
	d.certificates(key+".certificates", was.Certificates, is.Certificates)
}

func (d *differ) administrators(key string, was, is *model.Administrators) {
	none := model.Administrators{}
	if was == nil {
		was = &none
	}
	if is == nil {
		is = &none
	}
	if was.Provider != "" && is.Provider != "" {
		d.text(MayWiden, key+".provider", "who vouches for administrators", was.Provider, is.Provider)
		d.set(key+".audience", "tokens of administrators may be made for", "tokens of administrators may no longer be made for", was.Audience, is.Audience)
	}
	d.set(key+".viewer", "may look at the fleet:", "may no longer look at the fleet as viewer:", was.Viewer, is.Viewer)
	d.set(key+".operator", "may apply models and revoke:", "may no longer apply models and revoke as operator:", was.Operator, is.Operator)
	d.set(key+".admin", "may let proxies join:", "may no longer let proxies join as admin:", was.Admin, is.Admin)
}

// console compares how the console is served over the network.
func (d *differ) console(key string, was, is *model.ControlConsole) {
	switch {
	case reflect.DeepEqual(was, is):
	case is == nil:
		d.add(Narrows, key, "nobody sees the console over the network any longer")
	case was == nil:
		d.add(Widens, key, "administrators see the console over the network, at "+is.URL)
	case was.ClientID != is.ClientID:
		d.add(MayWiden, key+".client_id", "tokens for another client open the console: "+is.ClientID+", was "+was.ClientID)
	default:
		d.add(Changes, key, "the console is served in another way")
	}
}

func (d *differ) certificates(key string, was, is *model.ResolvedCertificates) {
	none := model.ResolvedCertificates{}
	if was == nil {
		was = &none
	}
	if is == nil {
		is = &none
	}
	if !bytes.Equal(was.Roots, is.Roots) && is.Roots != nil {
		d.add(MayWiden, key+".roots", "other authorities sign the certificates of nodes")
	}
	names := slices.AppendSeq(slices.Collect(maps.Keys(was.Names)), maps.Keys(is.Names))
	slices.Sort(names)
	for _, name := range slices.Compact(names) {
		d.set(join(key+".names", name), "a node with this certificate may be", "a node with this certificate may no longer be", was.Names[name], is.Names[name])
	}
}
