package client

import (
	"context"

	"github.com/sipio/sipio/brain/api"
)

// Supervise brings a supervisor into the talk of a caller, changes who hears him, or lets him go.
func (c *Client) Supervise(ctx context.Context, accountID string, req api.SuperviseRequest) (reply api.SuperviseReply, err error) {
	return reply, c.post(ctx, api.PathSupervise, accountID, req, &reply)
}

// MoveCaller puts a caller who waits at another place of his queue.
func (c *Client) MoveCaller(ctx context.Context, accountID string, req api.MoveRequest) (reply api.MoveReply, err error) {
	return reply, c.post(ctx, api.PathQueueMove, accountID, req, &reply)
}

// SendCaller sends a caller who waits elsewhere.
func (c *Client) SendCaller(ctx context.Context, accountID string, req api.SendRequest) (reply api.SendReply, err error) {
	return reply, c.post(ctx, api.PathQueueSend, accountID, req, &reply)
}
