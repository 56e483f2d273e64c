package event

// scanned reads a request or a connection as AppendJSON writes it. It reports false for anything else, which may
// nevertheless be an event.
func (w *wire) scanned(b []byte) bool {
	p := &scan{s: string(b)} // all texts are parts of it
	p.open("{")
	w.scan(p)
	p.close()
	return p.done()
}

func (w *wire) scan(p *scan) {
	switch {
	case p.key(classification):
		w.ClassUID = classHTTPActivity
	case p.key(networkClassification):
		w.ClassUID = classNetworkActivity
	default:
		p.failed = true
		return
	}
	p.skipNum(`"activity_id":`)
	p.skip(`"activity_name":"`)
	p.skipNum(`"type_uid":`)
	exact(p, `"time":`, &w.Time)
	p.skipNum(`"severity_id":`)
	p.skip(`"severity":"`)
	p.skipNum(`"status_id":`)
	p.skip(`"status":"`)
	p.str(`"status_detail":"`, &w.Problem)
	num(p, `"duration":`, new(int64))
	w.scanMetadata(p)
	w.scanControl(p)
	if w.ClassUID == classHTTPActivity {
		w.scanRequest(p)
		w.scanResponse(p)
	} else {
		w.scanConnection(p)
	}
	w.scanEndpoints(p)
	w.Actor.scan(p)
	w.scanTrace(p)
	w.Unmapped.scan(p)
}

func (w *wire) scanMetadata(p *scan) {
	if !p.key(metadata+`["host","security_control","trace"]`) && !p.key(metadata+`["host","security_control"]`) {
		p.failed = true
	}
	w.Metadata.Version = SchemaVersion
	p.str(`"uid":"`, new(string))
	p.str(`"correlation_uid":"`, &w.Metadata.UID)
	p.close()
}

func (w *wire) scanControl(p *scan) {
	switch {
	case p.key(`"action_id":1,"action":"Allowed"`):
		w.ActionID = 1
	case p.key(`"action_id":2,"action":"Denied"`):
		w.ActionID = 2
	default:
		p.failed = true
	}
	p.skipNum(`"disposition_id":`)
	p.skip(`"disposition":"`)
	p.key(`"is_alert":true`)
	if p.nest(`"firewall_rule":{`) || p.nest(`"policy":{`) {
		p.skip(`"uid":"`)
		p.str(`"desc":"`, new(string))
		p.close()
	}
}

func (w *wire) scanRequest(p *scan) {
	r := &w.Request
	p.open(`"http_request":{`)
	p.str(`"uid":"`, new(string))
	p.str(`"http_method":"`, &r.Method)
	p.str(`"version":"`, &r.Proto)
	p.open(`"url":{`)
	p.str(`"scheme":"`, &r.URL.Scheme)
	p.str(`"hostname":"`, &r.URL.Host)
	num(p, `"port":`, new(int))
	p.must(`"path":"`, &r.URL.Path)
	p.str(`"query_string":"`, &r.URL.Query)
	p.close()
	p.str(`"user_agent":"`, &r.UserAgent)
	p.str(`"referrer":"`, &r.Referer)
	p.skipNum(`"body_length":`)
	if p.nest(`"http_headers":[`) {
		for ok := true; ok; ok = p.more() {
			var h Header
			p.open("{")
			p.must(`"name":"`, &h.Name)
			p.must(`"value":"`, &h.Value)
			p.close()
			r.Headers = append(r.Headers, h)
		}
		p.endList()
	}
	p.close()
}

func (w *wire) scanConnection(p *scan) {
	p.open(`"connection_info":{`)
	p.str(`"uid":"`, new(string))
	p.skipNum(`"direction_id":`)
	p.skip(`"direction":"`)
	p.need(`"protocol_name":"tcp","protocol_num":6`)
	p.close()
}

func (w *wire) scanResponse(p *scan) {
	if p.nest(`"http_response":{`) {
		exact(p, `"code":`, &w.Response.Code)
		num(p, `"latency":`, new(int64))
		p.skipNum(`"body_length":`)
		p.close()
	}
}

func (w *wire) scanEndpoints(p *scan) {
	if p.nest(`"src_endpoint":{`) {
		if !p.str(`"ip":"`, &w.Source.IP) {
			p.must(`"name":"`, &w.Source.Name)
		}
		num(p, `"port":`, &w.Source.Port)
		p.close()
	}
	p.open(`"dst_endpoint":{`)
	p.need(`"name":"palisade"`)
	p.str(`"hostname":"`, &w.Destination.Host)
	p.str(`"ip":"`, new(string))
	num(p, `"port":`, new(int))
	p.str(`"svc_name":"`, &w.Destination.Service)
	p.str(`"interface_name":"`, &w.Destination.Listener)
	p.close()
	p.open(`"traffic":{`)
	exact(p, `"bytes_out":`, &w.Traffic.Sent)
	exact(p, `"bytes_in":`, &w.Traffic.Received)
	p.skipNum(`"bytes":`)
	p.close()
	if p.nest(`"tls":{`) {
		p.must(`"version":"`, &w.TLS.Version)
		p.str(`"cipher":"`, &w.TLS.Cipher)
		p.str(`"sni":"`, &w.TLS.Server)
		p.close()
	}
}

func (a *wireActor) scan(p *scan) {
	if !p.nest(`"actor":{`) {
		return
	}
	p.open(`"user":{`)
	p.must(`"uid":"`, &a.User.UID)
	exact(p, `"type_id":`, &a.User.TypeID)
	p.str(`"credential_uid":"`, &a.User.TokenID)
	if p.nest(`"groups":[`) {
		for ok := true; ok; ok = p.more() {
			p.open("{")
			a.User.Groups = append(a.User.Groups, wireGroup{})
			p.must(`"name":"`, &a.User.Groups[len(a.User.Groups)-1].Name)
			p.close()
		}
		p.endList()
	}
	p.close()
	if p.nest(`"idp":{`) {
		p.must(`"name":"`, &a.IDP.Name)
		p.str(`"issuer":"`, &a.IDP.Issuer)
		p.close()
	}
	p.str(`"app_uid":"`, &a.ClientID)
	p.close()
}

func (w *wire) scanTrace(p *scan) {
	if !p.nest(`"trace":{`) {
		return
	}
	p.must(`"uid":"`, &w.Trace.UID)
	if p.nest(`"span":{`) {
		p.must(`"uid":"`, &w.Trace.Span.UID)
		p.skipNum(`"start_time":`)
		p.skipNum(`"end_time":`)
		p.close()
	}
	p.close()
}
