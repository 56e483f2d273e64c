package main

import (
	"context"
	"errors"
	"time"

	"github.com/palisade-security/palisade/control/admin"
	"github.com/palisade-security/palisade/model"
)

// ScaleResult is a control with a model and no proxies: what it holds, and what a change of everything costs it.
type ScaleResult struct {
	Services int     `json:"services"`
	Heap     uint64  `json:"heap"`     // bytes in use, the embedded bus included
	Resident int64   `json:"resident"` // bytes
	Peak     int64   `json:"peak"`     // bytes, while everything changed
	Lead     float64 `json:"lead_us"`  // from the start of control until every slice is published
	LeadCPU  float64 `json:"lead_cpu_us"`
	Apply    float64 `json:"apply_us"` // a change of every slice, until all are published
	ApplyCPU float64 `json:"apply_cpu_us"`
	AgainCPU float64 `json:"again_cpu_us"` // of a second start, when every slice stands already
}

// scale measures a control with n services.
func scale(ctx context.Context, n int) (*ScaleResult, error) {
	s, err := startSite(ctx, n)
	if err != nil {
		return nil, err
	}
	out, err := s.scale(ctx)
	return out, errors.Join(err, s.stop())
}

func (s *controlSite) scale(ctx context.Context) (*ScaleResult, error) {
	first := &s.first
	out := &ScaleResult{Services: s.Services, Heap: first.Heap, Resident: first.Resident, Lead: micros(first.Lead), LeadCPU: micros(first.LeadCPU)}
	next, data, err := document(s.Services, allMore)
	if err != nil {
		return nil, err
	}
	status, err := s.admin.Status(ctx)
	if err != nil {
		return nil, err
	}
	before, err := s.cpu()
	if err != nil {
		return nil, err
	}
	begun := time.Now()
	if _, err := s.admin.Apply(ctx, admin.ApplyRequest{Model: data, Before: status.InForce.Version, Watch: model.Duration(time.Millisecond)}); err != nil {
		return nil, err
	}
	out.Apply = micros(time.Since(begun))
	after, err := s.cpu()
	if err != nil {
		return nil, err
	}
	out.ApplyCPU = micros(after - before)
	f, err := s.look()
	if err != nil {
		return nil, err
	}
	out.Peak = f.Peak
	status, err = s.admin.Status(ctx)
	if err == nil && status.InForce.Version != next {
		err = errors.New("the change is not in force")
	}
	if err != nil {
		return nil, err
	}
	if err := s.end(); err != nil {
		return nil, err
	}
	if err := s.begin(ctx); err != nil {
		return nil, err
	}
	out.AgainCPU = micros(s.first.LeadCPU)
	return out, nil
}
