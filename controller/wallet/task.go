package wallet

import (
	"context"
	"log/slog"
	"strconv"
	"strings"
	"time"

	"github.com/sipio/sipio/brain"
	"github.com/sipio/sipio/brain/api"
	"github.com/sipio/sipio/brain/balance"
)

const (
	// maxCarried bounds the tasks on their way at once. What finds no room is dropped: it comes again.
	maxCarried = 256
	// taskTime bounds one of them.
	taskTime = 5 * time.Second
)

// slots is room for tasks on their way.
type slots chan struct{}

func newSlots() slots { return make(slots, maxCarried) }

// Tasks takes what the wallet of an account wants done. It does not wait.
func (w *Wallets) Tasks(id string, tasks []balance.Task) {
	accountID, _ := brain.IsWalletObject(id)
	for _, task := range tasks {
		if task.Kind == balance.TaskUnpaid { // it does not come again
			w.log(accountID, &task).Error("accounts could not be charged for a call: their wallets know another one by its token, or have forgotten too much",
				"unpaid", strings.Join(task.Unpaid, " "))
			continue
		}
		select {
		case w.carried <- struct{}{}:
			go func() {
				defer func() { <-w.carried }()
				ctx, cancel := context.WithTimeout(context.Background(), taskTime)
				defer cancel()
				w.do(ctx, accountID, &task)
			}()
		default:
			w.Log.Warn("a task of a wallet has to wait: too many are on their way", "account", accountID, "kind", task.Kind)
		}
	}
}

func (w *Wallets) log(accountID string, task *balance.Task) *slog.Logger {
	return w.Log.With("account", accountID, "token", task.Token, "call_id", task.CallID)
}

func (w *Wallets) do(ctx context.Context, accountID string, task *balance.Task) {
	log := w.log(accountID, task)
	switch task.Kind {
	case balance.TaskOrder:
		if _, err := w.Carry(ctx, accountID, task.Chain, task.Order); err != nil {
			log.Debug("a reseller's wallet does not answer yet", "kind", task.Order.Kind, "of", task.Order.AccountID, "err", err)
		}
	case balance.TaskEnd:
		w.end(ctx, log, task)
	}
}

// end has a node end a call whose money is over. That it does not is told once, however often it is tried.
func (w *Wallets) end(ctx context.Context, log *slog.Logger, task *balance.Task) {
	level := slog.LevelError
	if task.Again {
		level = slog.LevelDebug
	}
	node := w.Directory().NodeByName(task.Node)
	if node == nil {
		log.Log(ctx, level, "a call without money goes on: its node is not registered", "node", task.Node)
		return
	}
	// Each try has an id of its own: the node would answer the same one without doing anything.
	op := api.Op{ID: "end-" + task.Token + "-" + strconv.FormatInt(w.Now().UnixMilli(), 36), Kind: api.OpEnd, Token: task.Token, CallID: task.CallID}
	reply, err := w.Nodes.Push(ctx, node, op)
	if err != nil || !reply.OK {
		log.Log(ctx, level, "a call without money goes on: its node does not end it", "node", task.Node, "answer", reply.Error, "err", err)
		return
	}
	log.Info("call ended: its money is over", "node", task.Node)
}
