# ffi-rzmq sockets over udp://, through ffi.
#
# peer.rb alone             both ends in this process, and what goes wrong
# peer.rb server            bind, print the endpoint, answer until told to end
# peer.rb client ENDPOINT   ask a server that may be written in another language

require 'ffi'
require 'ffi-rzmq'
require 'json'

module Vtx
  extend FFI::Library
  ffi_lib ENV.fetch('VTX_LIB')
  # blocking: other Ruby threads run on meanwhile
  attach_function :vtx_new_raw, [:pointer], :pointer
  attach_function :vtx_destroy, [:pointer], :void, blocking: true
  attach_function :vtx_bind, [:pointer, :pointer, :string], :int, blocking: true
  attach_function :vtx_connect, [:pointer, :pointer, :string], :int, blocking: true
  attach_function :vtx_setopt, [:pointer, :pointer, :string, :string], :int
  attach_function :vtx_getmeta, [:pointer, :pointer, :string], :pointer
  attach_function :vtx_error, [], :string
  attach_function :vtx_version, [:pointer, :pointer, :pointer], :void
end

module C
  extend FFI::Library
  ffi_lib FFI::Library::LIBC
  attach_function :free, [:pointer], :void
end

ROUNDS = 100
LAST = 'end'.b

def check(condition, what)
  abort "peer.rb: #{what}; vtx_error: #{Vtx.vtx_error.inspect}" unless condition
end

# A context of its own, a vtx for it and one socket.
class End
  attr_reader :vtx, :socket

  def initialize(type)
    @context = ZMQ::Context.new
    @socket = @context.socket(type)
    @socket.setsockopt(ZMQ::LINGER, 2000)
    @socket.setsockopt(ZMQ::RCVTIMEO, 10_000)
    @vtx = Vtx.vtx_new_raw(@context.context)
    check !@vtx.null?, 'vtx_new_raw failed'
  end

  def bind(endpoint)
    Vtx.vtx_bind(@vtx, @socket.socket, endpoint)
  end

  def connect(endpoint)
    Vtx.vtx_connect(@vtx, @socket.socket, endpoint)
  end

  def meta(name)
    pointer = Vtx.vtx_getmeta(@vtx, @socket.socket, name)
    return nil if pointer.null?
    text = pointer.read_string
    C.free(pointer)
    text
  end

  def send(body)
    check @socket.send_string(body) >= 0, "zmq_send: #{ZMQ::Util.error_string}"
  end

  def recv
    body = String.new
    check @socket.recv_string(body) >= 0, "zmq_recv: #{ZMQ::Util.error_string}"
    body.b
  end

  def close
    holder = FFI::MemoryPointer.new(:pointer)
    holder.write_pointer(@vtx)
    Vtx.vtx_destroy(holder)
    check holder.read_pointer.null?, 'vtx_destroy left the pointer'
    @socket.close
    @context.terminate
  end
end

def body(n)
  n.chr.b * n                       # with NULs in it, and once empty
end

# Check that the last call failed with this errno and a sentence with this text.
def refused(result, error, text)
  got = FFI.errno
  check result == -1 || result.nil?, "#{text}: accepted"
  check got == error::Errno, "#{text}: errno #{got}, not #{error}"
  check Vtx.vtx_error.include?(text), "#{text}: not in the sentence"
end

def alone
  version = FFI::MemoryPointer.new(:int, 3)
  Vtx.vtx_version(version, version + 4, version + 8)
  check version.read_int == 1, 'vtx_version'

  server = End.new(ZMQ::REP)
  client = End.new(ZMQ::REQ)
  [['udp:/127.0.0.1:5000', Errno::EINVAL],
   ['udp://127.0.0.1:99999', Errno::EINVAL],
   ['nosuch://127.0.0.1:5000', Errno::ENOPROTOOPT]].each do |endpoint, error|
    refused server.bind(endpoint), error, endpoint
    refused client.connect(endpoint), error, endpoint
  end
  refused Vtx.vtx_bind(server.vtx, nil, 'udp://127.0.0.1:*'), Errno::ENOTSOCK, 'socket'
  refused Vtx.vtx_setopt(server.vtx, nil, 'udp.nosuch', '1'), Errno::EINVAL, 'udp.nosuch'
  refused server.meta('nosuch'), Errno::EINVAL, 'nosuch'

  check server.bind('udp://127.0.0.1:*').zero?, 'vtx_bind failed'
  endpoint = server.meta('endpoint')
  check endpoint && endpoint.start_with?('udp://127.0.0.1:'), "endpoint is #{endpoint}"
  third = End.new(ZMQ::REP)
  refused third.bind(endpoint), Errno::EADDRINUSE, endpoint
  third.close

  check client.connect(endpoint).zero?, 'vtx_connect failed'
  ROUNDS.times do |n|
    client.send body(n)
    check server.recv == body(n), "request #{n}"
    server.send 're:'.b + body(n)
    check client.recv == 're:'.b + body(n), "reply #{n}"
  end

  # The counters follow the messages by a moment
  [client, server].each do |e|
    stats = nil
    500.times do
      stats = JSON.parse(e.meta('stats'))
      break if stats['messages_in'] == ROUNDS && stats['messages_out'] == ROUNDS
      sleep 0.01
    end
    check stats['messages_in'] == ROUNDS && stats['messages_out'] == ROUNDS, "stats are #{stats}"
    check stats['peerings'] == 1 && stats['drops'].empty?, "stats are #{stats}"
  end
  client.close
  server.close
end

def server
  e = End.new(ZMQ::REP)
  check e.bind('udp://127.0.0.1:*').zero?, 'vtx_bind failed'
  puts e.meta('endpoint')
  $stdout.flush
  request = nil
  until request == LAST
    request = e.recv
    e.send 're:'.b + request
  end
  e.close
end

def client(endpoint)
  e = End.new(ZMQ::REQ)
  check e.connect(endpoint).zero?, 'vtx_connect failed'
  (ROUNDS.times.map { |n| body(n) } << LAST).each do |request|
    e.send request
    check e.recv == 're:'.b + request, "the reply to #{request.inspect}"
  end
  e.close
end

case ARGV.shift
when 'alone' then alone
when 'server' then server
when 'client' then client(ARGV.shift)
else abort 'usage: peer.rb alone | server | client ENDPOINT'
end
