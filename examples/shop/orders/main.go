// Command orders takes orders: it asks catalog for prices, payments for the money, and streams what happens
// as server-sent events.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"log"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/palisade-security/palisade/examples/shop/internal/serve"
)

type order struct {
	ID      int    `json:"id"`
	User    string `json:"user"`
	Product int    `json:"product"`
	Count   int    `json:"count"`
	Cents   int    `json:"cents"`
	Receipt string `json:"receipt,omitempty"`
	Note    string `json:"note,omitempty"`
}

type orders struct {
	catalog  string
	payments *grpc.ClientConn

	mu      sync.Mutex
	all     []order
	waiting map[chan order]struct{}
}

func main() {
	conn, err := grpc.NewClient(strings.TrimPrefix(os.Getenv("PAYMENTS_ADDRESS"), "h2c://"), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		log.Fatal(err)
	}
	o := &orders{catalog: os.Getenv("CATALOG_ADDRESS"), payments: conn, waiting: map[chan order]struct{}{}}
	o.all = []order{{ID: 1, User: "user-1", Product: 1, Count: 2, Cents: 9800, Receipt: "R-0000"}, {ID: 2, User: "user-2", Product: 3, Count: 1, Cents: 89900, Receipt: "R-0000"}}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(http.ResponseWriter, *http.Request) {})
	mux.HandleFunc("GET /orders", o.list)
	mux.HandleFunc("POST /orders", o.create)
	mux.HandleFunc("GET /orders/{id}", o.get)
	mux.HandleFunc("DELETE /orders/{id}", o.cancel)
	mux.HandleFunc("GET /orders/events", o.events)
	serve.HTTP(mux)
}

func (o *orders) list(w http.ResponseWriter, r *http.Request) {
	o.mu.Lock()
	defer o.mu.Unlock()
	out := []order{}
	for _, one := range o.all {
		if one.User == serve.User(r) {
			out = append(out, one)
		}
	}
	serve.JSON(w, http.StatusOK, out)
}

// find looks for the order that the path names among those that who asks may see: the gateway knows roles, the
// service knows whose order it is.
func (o *orders) find(r *http.Request) (int, bool) {
	id, err := strconv.Atoi(r.PathValue("id"))
	if err != nil {
		return 0, false
	}
	for i := range o.all {
		if o.all[i].ID == id && (o.all[i].User == serve.User(r) || serve.Is(r, "admin")) {
			return i, true
		}
	}
	return 0, false
}

func (o *orders) get(w http.ResponseWriter, r *http.Request) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if i, ok := o.find(r); ok {
		serve.JSON(w, http.StatusOK, o.all[i])
		return
	}
	serve.Fail(w, http.StatusNotFound, "no such order")
}

func (o *orders) cancel(w http.ResponseWriter, r *http.Request) {
	o.mu.Lock()
	defer o.mu.Unlock()
	i, ok := o.find(r)
	if !ok {
		serve.Fail(w, http.StatusNotFound, "no such order")
		return
	}
	o.all = append(o.all[:i], o.all[i+1:]...)
	w.WriteHeader(http.StatusNoContent)
}

func (o *orders) create(w http.ResponseWriter, r *http.Request) {
	var in order
	if err := json.NewDecoder(r.Body).Decode(&in); err != nil {
		serve.Fail(w, http.StatusBadRequest, "not an order")
		return
	}
	var p struct {
		Cents int `json:"cents"`
	}
	if err := serve.Get(r.Context(), o.catalog+"/catalog/"+strconv.Itoa(in.Product), &p); err != nil {
		serve.Fail(w, http.StatusUnprocessableEntity, "no such product")
		return
	}
	in.User, in.Cents = serve.User(r), p.Cents*in.Count
	receipt, err := o.charge(r.Context(), in.Cents)
	if err != nil {
		log.Printf("charging: %v", err)
		serve.Fail(w, http.StatusBadGateway, "the payment failed")
		return
	}
	in.Receipt = receipt
	serve.JSON(w, http.StatusCreated, o.add(in))
}

func (o *orders) charge(ctx context.Context, cents int) (string, error) {
	in, err := structpb.NewStruct(map[string]any{"cents": cents})
	if err != nil {
		return "", err
	}
	out := new(structpb.Struct)
	if err := o.payments.Invoke(ctx, "/shop.payments.v1.Payments/Charge", in, out); err != nil {
		return "", err
	}
	return out.GetFields()["receipt"].GetStringValue(), nil
}

func (o *orders) add(one order) order {
	o.mu.Lock()
	defer o.mu.Unlock()
	one.ID = 1
	if n := len(o.all); n > 0 {
		one.ID = o.all[n-1].ID + 1
	}
	o.all = append(o.all, one)
	for c := range o.waiting {
		select {
		case c <- one:
		default: // a slow reader misses an event rather than holding up the shop
		}
	}
	return one
}

// events streams new orders, and a comment now and then so that both sides know the other is there.
func (o *orders) events(w http.ResponseWriter, r *http.Request) {
	c := make(chan order, 8)
	o.mu.Lock()
	o.waiting[c] = struct{}{}
	o.mu.Unlock()
	defer func() {
		o.mu.Lock()
		delete(o.waiting, c)
		o.mu.Unlock()
	}()
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("Cache-Control", "no-store")
	rc := http.NewResponseController(w)
	fmt.Fprint(w, ": welcome\n\n")
	tick := time.NewTicker(10 * time.Second)
	defer tick.Stop()
	for rc.Flush() == nil {
		select {
		case <-r.Context().Done():
			return
		case <-tick.C:
			fmt.Fprint(w, ": still here\n\n")
		case one := <-c:
			fmt.Fprintf(w, "event: order\ndata: {\"id\":%d,\"cents\":%d}\n\n", one.ID, one.Cents)
		}
	}
}
