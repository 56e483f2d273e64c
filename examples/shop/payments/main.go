// Command payments charges cards over gRPC. Its messages are well-known types, so that the example needs no
// generated code: a Struct with order and cents goes in, one with receipt comes out.
package main

import (
	"context"
	"fmt"
	"log"
	"net"
	"os"
	"os/signal"
	"sync/atomic"
	"syscall"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/structpb"
)

type payments struct{ receipts atomic.Int64 }

func (p *payments) charge(_ context.Context, in *structpb.Struct) (*structpb.Struct, error) {
	cents := in.GetFields()["cents"].GetNumberValue()
	if cents <= 0 {
		return nil, status.Error(codes.InvalidArgument, "cents must be positive")
	}
	return structpb.NewStruct(map[string]any{"receipt": fmt.Sprintf("R-%04d", p.receipts.Add(1)), "cents": cents})
}

// service describes shop.payments.v1.Payments as generated code would.
var service = grpc.ServiceDesc{
	ServiceName: "shop.payments.v1.Payments",
	HandlerType: (*any)(nil),
	Methods: []grpc.MethodDesc{{
		MethodName: "Charge",
		Handler: func(srv any, ctx context.Context, decode func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
			in := new(structpb.Struct)
			if err := decode(in); err != nil {
				return nil, err
			}
			return srv.(*payments).charge(ctx, in)
		},
	}},
}

func main() {
	var lc net.ListenConfig
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	ln, err := lc.Listen(ctx, "tcp", os.Getenv("LISTEN_ADDRESS"))
	if err != nil {
		log.Fatal(err)
	}
	s := grpc.NewServer()
	s.RegisterService(&service, &payments{})
	go func() {
		<-ctx.Done()
		s.GracefulStop()
	}()
	if err := s.Serve(ln); err != nil {
		log.Fatal(err)
	}
}
