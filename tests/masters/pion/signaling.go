package main

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"sync"

	"github.com/gorilla/websocket"
	"github.com/pion/webrtc/v4"
)

// channel is a signaling channel on which this program is the master.
type channel struct {
	servers []webrtc.ICEServer
	socket  *websocket.Conn
	writing sync.Mutex
}

// message is what the service sends.
type message struct {
	Type    string `json:"messageType"`
	Payload []byte `json:"messagePayload"`
	Viewer  string `json:"senderClientId"`
}

// call is one operation of KVS.
func call(s signer, address string, in, out any) error {
	body, err := json.Marshal(in)
	if err != nil {
		return err
	}
	request, err := http.NewRequest(http.MethodPost, address, bytes.NewReader(body))
	if err != nil {
		return err
	}
	request.Header.Set("Content-Type", "application/json")
	s.sign(request, body)
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		return err
	}
	if answer.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s: %s", address, answer.Status, text)
	}
	return json.Unmarshal(text, out)
}

type object = map[string]any

// connect is ConnectAsMaster, with what comes before it.
func connect(name string) (*channel, error) {
	s := newSigner()
	control := os.Getenv("AWS_ENDPOINT_URL_KINESIS_VIDEO")
	var described struct{ ChannelInfo struct{ ChannelARN string } }
	if err := call(s, control+"/describeSignalingChannel", object{"ChannelName": name}, &described); err != nil {
		return nil, err
	}
	arn := described.ChannelInfo.ChannelARN
	var endpoints struct {
		ResourceEndpointList []struct{ Protocol, ResourceEndpoint string }
	}
	err := call(s, control+"/getSignalingChannelEndpoint", object{
		"ChannelARN": arn,
		"SingleMasterChannelEndpointConfiguration": object{"Protocols": []string{"WSS", "HTTPS"}, "Role": "MASTER"},
	}, &endpoints)
	if err != nil {
		return nil, err
	}
	of := map[string]string{}
	for _, endpoint := range endpoints.ResourceEndpointList {
		of[endpoint.Protocol] = endpoint.ResourceEndpoint
	}
	var config struct {
		IceServerList []struct {
			Uris               []string
			Username, Password string
		}
	}
	if err := call(s, of["HTTPS"]+"/v1/get-ice-server-config", object{"ChannelARN": arn}, &config); err != nil {
		return nil, err
	}
	joined := &channel{}
	for _, server := range config.IceServerList {
		joined.servers = append(joined.servers,
			webrtc.ICEServer{URLs: server.Uris, Username: server.Username, Credential: server.Password})
	}
	address, err := s.presign(of["WSS"], url.Values{"X-Amz-ChannelARN": {arn}})
	if err != nil {
		return nil, err
	}
	joined.socket, _, err = websocket.DefaultDialer.Dial(address, nil)
	return joined, err
}

// receive waits for the next message; what holds none is skipped.
func (c *channel) receive() (message, error) {
	for {
		_, text, err := c.socket.ReadMessage()
		if err != nil {
			return message{}, err
		}
		var received message
		if json.Unmarshal(text, &received) == nil && received.Type != "" {
			return received, nil
		}
	}
}

func (c *channel) send(action, viewer string, payload any) error {
	text, err := json.Marshal(payload)
	if err != nil {
		return err
	}
	c.writing.Lock()
	defer c.writing.Unlock()
	return c.socket.WriteJSON(map[string]string{
		"action":            action,
		"messagePayload":    base64.StdEncoding.EncodeToString(text),
		"recipientClientId": viewer,
	})
}
