#include "call_forms.inc"
