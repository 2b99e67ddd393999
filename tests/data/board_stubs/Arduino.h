// What the sketch takes from Arduino, declared for a test.
unsigned long micros();
int analogRead(int pin);
void analogWrite(int pin, int value);
void setup();
void loop();
