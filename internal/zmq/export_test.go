package zmq

// For the tests in zmq_test.
var Kept = kept

const MostKept = mostKept
