package mesh

import (
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/palisade-security/palisade/bus"
	"github.com/palisade-security/palisade/model"
)

// TestBroker holds that the subjects of the model hold at a real NATS server, for clients that know nothing of it.
func TestBroker(t *testing.T) {
	f := newBrokerFleet(t)
	t.Run("messages", f.messages)
	t.Run("refused", f.refused)
	t.Run("inboxes", f.inboxes)
	t.Run("jetstream", f.jetstream)
	t.Run("past the sidecar", f.past)
	t.Run("another model", f.change)
	t.Run("revoked", f.revoked)
	t.Run("server restarts", f.restarts)
}

func (f *brokerFleet) messages(t *testing.T) {
	orders, payments := f.client("orders"), f.client("payments")
	other := f.client("payments")
	defer payments.Close() // others would hear its answers
	defer other.Close()
	answer := func(m *nats.Msg) {
		reply := nats.NewMsg(m.Reply)
		reply.Header, reply.Data = m.Header, append([]byte("charged "), m.Data...)
		_ = m.RespondMsg(reply)
	}
	_, err := payments.QueueSubscribe("payments.charge", "workers", answer)
	_, err2 := other.QueueSubscribe("payments.charge", "workers", answer)
	noError(t, err, err2, payments.Flush(), other.Flush())
	m := nats.NewMsg("payments.charge")
	m.Header.Set("Trace", "abc")
	for n := range 100 {
		m.Data = fmt.Append(nil, n)
		got, err := orders.RequestMsgWithContext(patience(t), m)
		if err != nil || string(got.Data) != fmt.Sprintf("charged %d", n) || got.Header.Get("Trace") != "abc" {
			t.Fatalf("%d: %v, %v", n, got, err)
		}
	}
	_, err = payments.Subscribe("orders.note", func(m *nats.Msg) { _ = errors.Join(m.Respond([]byte("1")), m.Respond([]byte("2"))) })
	several, err2 := payments.SubscribeSync("_INBOX.several.>")
	noError(t, err, err2, payments.PublishRequest("orders.note", "_INBOX.several.x", nil))
	for _, want := range []string{"1", "2"} {
		if m, err := several.NextMsgWithContext(patience(t)); err != nil || string(m.Data) != want || m.Subject != "_INBOX.several.x" {
			t.Errorf("several answers: %v, %v", m, err)
		}
	}
	done, err := orders.SubscribeSync("payments.done")
	noError(t, err, orders.Flush(), payments.Publish("payments.done", []byte("yes")))
	if m, err := done.NextMsgWithContext(patience(t)); err != nil || string(m.Data) != "yes" {
		t.Errorf("%v, %v", m, err)
	}
	if _, err := orders.RequestWithContext(patience(t), "idle.x", nil); !errors.Is(err, nats.ErrNoResponders) {
		t.Errorf("where nobody listens: %v", err)
	}
}

func (f *brokerFleet) refused(t *testing.T) {
	orders := f.client("orders")
	noError(t, orders.Publish("payments.done", []byte(`-ERR 'Permissions Violation for Publish to "x"'`)))
	orders.refused(t, "payments.done")
	_, err := orders.Subscribe("orders.>", func(*nats.Msg) {})
	noError(t, err)
	orders.refused(t, "orders.>")
	for _, subject := range []string{">", "*", "*.*", "_INBOX", "$SYS.>", "payments.*"} {
		_, err := orders.Subscribe(subject, func(*nats.Msg) {})
		noError(t, err)
		orders.refused(t, subject)
	}
	noError(t, orders.Publish("payments.done", nil), orders.Flush())
	f.recorded("bus/inbound  bus subject-not-declared payments.done publish")
	f.recorded("bus/inbound  bus subject-not-declared payments.* subscribe")
	if _, err := f.connect("web", nats.Timeout(time.Second)); err == nil {
		t.Error("a service that the model does not let connect is connected")
	}
	f.recorded("web/outbound  bus:80 call-not-declared")
	if _, err := f.connect("orders", nats.UserInfo("admin", "admin")); err == nil {
		t.Error("a service brings credentials of its own")
	}
}

// inboxes: whoever was shown where an answer is to go cannot listen there.
func (f *brokerFleet) inboxes(t *testing.T) {
	orders, payments := f.client("orders"), f.client("payments")
	shown := make(chan string, 64)
	_, err := payments.Subscribe("payments.charge", func(m *nats.Msg) {
		shown <- m.Reply
		_ = m.Respond([]byte("secret"))
	})
	noError(t, err, payments.Flush())
	_, err = orders.RequestWithContext(patience(t), "payments.charge", nil)
	noError(t, err)
	reply := <-shown
	heard := make(chan *nats.Msg, 64)
	listen := []string{"_INBOX.>", reply[:strings.LastIndexByte(reply, '.')] + ".>", strings.Replace(reply, bus.Inbox(model.ServiceID("shop.example", "orders")), "_INBOX", 1)}
	for _, subject := range listen {
		_, err := payments.ChanSubscribe(subject, heard)
		noError(t, err)
	}
	noError(t, payments.Flush())
	for range 10 {
		_, err := orders.RequestWithContext(patience(t), "payments.charge", nil)
		noError(t, err)
	}
	own := nats.NewInbox() // what the client itself asks is answered, and is the first thing it hears
	_, err = payments.Subscribe("orders.note", func(m *nats.Msg) { _ = m.Respond([]byte("own")) })
	noError(t, err, payments.Flush(), payments.PublishRequest("orders.note", own, nil), payments.Flush())
	select {
	case m := <-heard:
		if m.Subject != own || string(m.Data) != "own" {
			t.Errorf("it hears %s: %s", m.Subject, m.Data)
		}
	case <-patience(t).Done():
		t.Error("it does not hear its own answers")
	}
	noError(t, orders.Publish(own, []byte("forged")))
	orders.refused(t, own)
}

// jetstream: streams, consumers of both kinds and buckets, with the subjects of their interface declared.
func (f *brokerFleet) jetstream(t *testing.T) {
	desk, orders := f.client("desk"), f.client("orders")
	js, err := jetstream.New(desk.Conn)
	noError(t, err)
	stream, err := js.CreateStream(patience(t), jetstream.StreamConfig{Name: "ORDERS", Subjects: []string{"orders.>"}})
	noError(t, err)
	sender, err := jetstream.New(orders.Conn)
	noError(t, err)
	ack, err := sender.Publish(patience(t), "orders.1", []byte("one"))
	if err != nil || ack.Sequence != 1 {
		t.Fatalf("%v, %v", ack, err)
	}
	consumer, err := stream.CreateOrUpdateConsumer(patience(t), jetstream.ConsumerConfig{Durable: "desk", AckPolicy: jetstream.AckExplicitPolicy})
	noError(t, err)
	m, err := consumer.Next(jetstream.FetchMaxWait(30 * time.Second))
	noError(t, err)
	if string(m.Data()) != "one" {
		t.Errorf("got %s", m.Data())
	}
	noError(t, m.DoubleAck(patience(t)))
	old, err := desk.JetStream()
	noError(t, err)
	pushed := make(chan *nats.Msg, 8) // a consumer that is told to deliver to an inbox
	_, err = old.ChanSubscribe("orders.>", pushed, nats.OrderedConsumer(), nats.BindStream("ORDERS"))
	noError(t, err)
	select {
	case m := <-pushed:
		if string(m.Data) != "one" {
			t.Errorf("pushed %s", m.Data)
		}
	case <-patience(t).Done():
		t.Error("nothing is pushed")
	}
	kv, err := js.CreateKeyValue(patience(t), jetstream.KeyValueConfig{Bucket: "stock"})
	noError(t, err)
	watch, err := kv.WatchAll(patience(t))
	noError(t, err)
	_, err = kv.Put(patience(t), "apples", []byte("7"))
	noError(t, err)
	for entry := range watch.Updates() {
		if entry != nil {
			if entry.Key() != "apples" || string(entry.Value()) != "7" {
				t.Errorf("watched %v", entry)
			}
			break
		}
	}
	noError(t, orders.Publish("$JS.API.STREAM.INFO.ORDERS", nil))
	orders.refused(t, "$JS.API.STREAM.INFO.ORDERS")
}

// past: whoever reaches the server itself is nobody.
func (f *brokerFleet) past(t *testing.T) {
	foreign, err := bus.NewKeys()
	noError(t, err)
	ticket, err := foreign.Ticket(model.ServiceID("shop.example", "orders"), time.Now())
	noError(t, err)
	for name, option := range map[string]nats.Option{"no token": nats.Name("x"), "a ticket of other keys": nats.Token(ticket), "nonsense": nats.Token("a.b")} {
		if nc, err := nats.Connect("nats://"+f.address, option, nats.NoReconnect()); err == nil {
			nc.Close()
			t.Errorf("%s: connected", name)
		}
	}
}

// change: another model holds for connections that are there; those it does not touch go on.
func (f *brokerFleet) change(t *testing.T) {
	orders, payments := f.client("orders"), f.client("payments")
	f.text = strings.Replace(f.text, "publish: {bus: [payments.done,", "publish: {bus: [payments.failed,", 1)
	f.apply(t, compile(t, f.dir, f.text))
	select {
	case <-payments.lost:
	case <-patience(t).Done():
		t.Fatal("it goes on with what it was permitted before")
	}
	for !payments.IsConnected() && t.Context().Err() == nil {
		time.Sleep(time.Millisecond)
	}
	noError(t, payments.Publish("payments.failed", nil), payments.Flush(), payments.Publish("payments.done", nil))
	payments.refused(t, "payments.done")
	select {
	case <-orders.lost:
		t.Error("a connection was cut for which nothing changed")
	default:
	}
	wrong := compile(t, f.dir, strings.Replace(f.text, "subscribe: {bus: [payments.charge, orders.note]}", "subscribe: {bus: [a.*, a.b.*]}", 1))
	if _, _, err := f.Prepare(t.Context(), wrong); err == nil || !strings.Contains(err.Error(), "services.payments") {
		t.Errorf("subjects that the server cannot hold: %v", err)
	}
}

func (f *brokerFleet) revoked(t *testing.T) {
	orders, payments := f.client("orders"), f.client("payments")
	id := model.ServiceID("shop.example", "payments")
	cut, err := f.Revoke(t.Context(), "service", id, "stolen", "admin")
	if err != nil || cut.Connections == 0 {
		t.Fatalf("%+v, %v", cut, err)
	}
	select {
	case <-payments.lost:
	case <-patience(t).Done():
		t.Fatal("it goes on")
	}
	if _, err := f.connect("payments", nats.Timeout(time.Second)); err == nil {
		t.Error("a revoked service connects")
	}
	noError(t, orders.Publish("orders.2", nil), orders.Flush(), f.Restore(t.Context(), "service", id))
	for ctx := patience(t); ; time.Sleep(10 * time.Millisecond) {
		if _, err := f.connect("payments", nats.Timeout(time.Second)); err == nil {
			return
		} else if ctx.Err() != nil {
			t.Fatal(err)
		}
	}
}

// restarts: clients come back with the server, as they would without a mesh.
func (f *brokerFleet) restarts(t *testing.T) {
	orders := f.client("orders")
	for range 3 {
		f.kill()
		select {
		case <-orders.lost:
		case <-patience(t).Done():
			t.Fatal("it has not noticed")
		}
		f.start()
		for ctx := patience(t); !orders.IsConnected(); time.Sleep(time.Millisecond) {
			if orders.IsClosed() || ctx.Err() != nil {
				t.Fatal("it does not come back")
			}
		}
		noError(t, orders.Publish("orders.3", nil), orders.Flush())
	}
}

// TestBrokerOpen: a server that asks nobody is not served, whatever it would let in.
func TestBrokerOpen(t *testing.T) {
	f := newBrokerFleet(t)
	f.kill()
	ln, err := net.Listen("tcp", f.address)
	noError(t, err)
	t.Cleanup(func() { _ = ln.Close() })
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			_, _ = io.WriteString(c, `INFO {"server_id":"x","auth_required":false}`+"\r\n")
			_, _ = io.Copy(io.Discard, c)
			_ = c.Close()
		}
	}()
	if _, err := f.connect("orders", nats.Timeout(time.Second)); err == nil {
		t.Error("connected")
	}
	f.recorded("bus/inbound  bus open-broker")
}
