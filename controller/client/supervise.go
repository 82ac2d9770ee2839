package client

import (
	"context"

	"github.com/sipio/sipio/brain/api"
)

// Supervise brings a supervisor into the talk of a caller, changes who hears him, or lets him go.
func (c *Client) Supervise(ctx context.Context, accountID string, req api.SuperviseRequest) (reply api.SuperviseReply, err error) {
	return reply, c.post(ctx, api.PathSupervise, accountID, req, &reply)
}
