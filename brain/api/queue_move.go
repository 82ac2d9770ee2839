package api

// Paths of supervisors who change what becomes of callers who wait.
const (
	PathQueueMove = "/queues/move" // POST MoveRequest: put a caller at another place of his line
	PathQueueSend = "/queues/send" // POST SendRequest: send a caller elsewhere
)

// MoveRequest puts a caller who waits at another place of his queue, one who has hung up and keeps his place too. Who is rung for
// him or others is rung on. The same again changes nothing as long as he stands there.
type MoveRequest struct {
	EntryID string `json:"entry_id,omitempty"` // of the caller, as GET /queues has it; or
	Token   string `json:"token,omitempty"`    // of his call
	Place   int    `json:"place"`              // 1 = next; more than there are = the last
}

// MoveReply says where he stands now.
type MoveReply struct {
	EntryID string `json:"entry_id"`
	QueueID string `json:"queue_id"`
	Place   int    `json:"place"`
}

// SendRequest ends the waiting of a caller who is with no agent yet, and sends his call elsewhere. The same again is done once,
// and answered alike as long as the call is up.
type SendRequest struct {
	EntryID string         `json:"entry_id,omitempty"` // of the caller, as GET /queues has it; or
	Token   string         `json:"token,omitempty"`    // of his call
	Target  TransferTarget `json:"target"`             // kind queue, user, number, voicemail, flow or conference; all but a number by id or name
}

// SendReply says that he leaves the queue, by the outcome sent.
type SendReply struct {
	EntryID string         `json:"entry_id"`
	Token   string         `json:"token"`
	Target  TransferTarget `json:"target"` // kind and id of the resource
}
