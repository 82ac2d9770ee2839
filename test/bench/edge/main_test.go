package main

import (
	"context"
	"testing"
	"time"

	"github.com/sipio/sipio/test/edge"
)

// The benchmark still runs: each variant starts, registers and carries calls. Its figures are not judged here.
func TestBench_RunsEveryVariant(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	t.Cleanup(edge.RemoveBinaries)
	if err := bench(ctx, 1, 200, ""); err != nil {
		t.Fatal(err)
	}
}
