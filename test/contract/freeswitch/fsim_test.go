package freeswitch

import (
	"context"
	"errors"
)

func startFsim(ctx context.Context, s *site, firstRTP int) error { return errors.New("not yet") }
